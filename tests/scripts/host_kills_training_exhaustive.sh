# SIGKILL of a worker that trains, of the coordinator, and of both at twenty random moments.
. "$(dirname "$0")/common/host.bash"
. "$(dirname "$0")/common/kill_training.bash"

kill_trainings 20
