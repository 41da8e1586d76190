# A sample of the sweep over system calls; host_syscalls_exhaustive.sh does all of it.
. "$(dirname "$0")/common/host.bash"
. "$(dirname "$0")/common/sweep.bash"

command -v strace >/dev/null || { echo "skipped: strace is not installed"; exit 77; }
strace -o /dev/null true 2>/dev/null || { echo "skipped: strace may not trace here"; exit 77; }
sweep 14
