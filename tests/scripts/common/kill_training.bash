# Kills a run that trains, at moments by lot, and runs it again.
. "$(dirname "${BASH_SOURCE[0]}")/training_study.bash"

host_run() {
  host "$1" run study --workers 2
}

# The workers that belong to this project, the coordinator's children or left over.
kill_workers() {
  pkill -KILL -f -- "--store=$1/" || true
}

# One of them: the other takes over its node, and killing that one too would use up the retries.
kill_one_worker() {
  pkill -KILL "$2" -f -- "--store=$1/" || true
}

# Waits until a training has saved its state; false if the run ended before.
wait_for_checkpoint() {
  local project=$1 coordinator=$2
  until [ -n "$(ls -A "$project/.colonnade/store/checkpoints" 2>/dev/null)" ]; do
    kill -0 "$coordinator" 2>/dev/null || return 1
    sleep 0.02
  done
}

# Nodes that the journal says were computed.
nodes_computed() {
  grep -c '"event":"computed"' "$1"/runs/*/journal.jsonl || true
}

# Steps of training that were carried out, by the workers' logs.
steps_done() {
  cat "$1"/runs/*/logs/worker-*.log | grep -c '^Step ' || true
}

# kill_one ROUND PROJECT COORDINATOR: the round says whom.
kill_one() {
  local round=$1 project=$2 coordinator=$3 code=0 zombies
  case $((round % 3)) in
    0)
      killed="coordinator and workers"
      kill -KILL "$coordinator" 2>/dev/null || true
      kill_workers "$project"
      ;;
    1)
      killed="a worker"
      kill_one_worker "$project" "$([ $((round % 2)) = 0 ] && echo --oldest || echo --newest)"
      sleep 0.2
      zombies=$(ps --ppid "$coordinator" -o stat= 2>/dev/null | grep -c '^Z' || true)
      [ "$zombies" = 0 ] || fail "round $round: $zombies zombies"
      wait "$coordinator" || code=$?
      [ "$code" = 0 ] || { cat "$scratch/killed" >&2; fail "round $round: the coordinator did not get over a killed worker"; }
      ;;
    2)
      killed="coordinator"
      kill -KILL "$coordinator" 2>/dev/null || true
      ;;
  esac
  wait "$coordinator" 2>/dev/null || true
  no_processes "$project"
}

# kill_trainings ROUNDS
kill_trainings() {
  local rounds=$1 project nodes steps coordinator killed kept computed repeated in_flight=2
  needs_training
  make_training_host
  project=$(make_project training)
  write_training_study "$project"
  host_run "$project" >"$scratch/out" 2>&1 || { cat "$scratch/out" >&2; fail "the undisturbed run failed"; }
  copy_results "$project" "$scratch/reference"
  nodes=$(nodes_computed "$project")
  steps=$(steps_done "$project")
  for round in $(seq "$rounds"); do
    rm -rf "$project/.colonnade/store" "$project/runs"
    (cd "$project" && exec "$COLONNADE" run study --workers 2) >"$scratch/killed" 2>&1 &
    coordinator=$!
    wait_for_checkpoint "$project" "$coordinator" || { cat "$scratch/killed" >&2; fail "no training saved its state"; }
    sleep "0.$(printf '%03d' $((RANDOM % 400)))"
    kill_one "$round" "$project" "$coordinator"
    kept=$(nodes_computed "$project")
    host "$project" run study --workers 2 --json >"$scratch/again" 2>"$scratch/messages" ||
      { cat "$scratch/killed" "$scratch/messages" >&2; fail "round $round: the same command failed"; }
    same_results "$project" "$scratch/reference" "round $round"
    computed=$(json_value nodes_computed <"$scratch/again")
    [ $((kept + computed)) -le "$nodes" ] || fail "round $round: $kept of $nodes nodes were computed, and $computed computed again"
    # With every step saved, a killed training does a step twice at most: one that was done and not saved yet.
    repeated=$(($(steps_done "$project") - steps))
    [ "$repeated" -le "$in_flight" ] || fail "round $round: $repeated steps were done twice"
    echo "round $round: killed $killed with $kept of $nodes nodes computed; then $computed computed, $repeated of $steps steps done twice"
  done
}
