# Journal and lock of a run truncated at every byte.
. "$(dirname "$0")/common/host.bash"
. "$(dirname "$0")/common/truncate.bash"

truncate_sweep 1
