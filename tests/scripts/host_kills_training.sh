# Kills of a run that trains, in the midst of a training: a sample; host_kills_training_exhaustive.sh does more.
. "$(dirname "$0")/common/host.bash"
. "$(dirname "$0")/common/kill_training.bash"

kill_trainings 3
