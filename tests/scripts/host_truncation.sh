# A sample of truncated journals and locks; host_truncation_exhaustive.sh tries every byte.
. "$(dirname "$0")/common/host.bash"
. "$(dirname "$0")/common/truncate.bash"

truncate_sweep 150
