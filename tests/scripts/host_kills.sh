# SIGKILL of workers, of the coordinator, and of both at random moments: the same command then gives the same results. A sample;
# host_kills_exhaustive.sh does more.
. "$(dirname "$0")/common/host.bash"
. "$(dirname "$0")/common/lone_host.bash"
. "$(dirname "$0")/common/small_study.bash"

make_lone_host
project=$(make_project kills)
write_small_study "$project" 700
start=$(date +%s%N)
run_study "$project" --workers 2 >/dev/null 2>&1 || fail "the undisturbed run failed"
whole=$((($(date +%s%N) - start) / 1000000))
copy_results "$project" "$scratch/reference"

kill_workers() { pkill -KILL -f -- "--store=$project/" || true; }

for round in $(seq "${rounds:-6}"); do
  rm -rf "$project/.colonnade/store" "$project/runs"
  (cd "$project" && exec "$COLONNADE" run study --plugin "$good_plugin" --workers 2) >"$scratch/killed" 2>&1 &
  coordinator=$!
  moment=$((RANDOM % (whole + 1)))
  sleep "$(printf '%d.%03d' $((moment / 1000)) $((moment % 1000)))"
  case $((round % 3)) in
    0) kill_workers ;;
    1) kill -KILL "$coordinator" 2>/dev/null || true ;;
    2) kill -KILL "$coordinator" 2>/dev/null || true; kill_workers ;;
  esac
  if [ $((round % 3)) = 0 ]; then
    # The coordinator lives on, tries again by itself, and leaves no zombie behind while it does.
    sleep 0.2
    zombies=$(ps --ppid "$coordinator" -o stat= 2>/dev/null | grep -c '^Z' || true)
    [ "$zombies" = 0 ] || fail "round $round: $zombies zombies"
  fi
  wait "$coordinator" || true
  no_processes "$project"
  run_study "$project" --workers 2 --json >"$scratch/again" 2>"$scratch/messages" || {
    cat "$scratch/killed" "$scratch/messages" >&2
    fail "round $round, after $moment ms: the same command failed"
  }
  same_results "$project" "$scratch/reference"
  echo "round $round: killed after $moment of $whole ms, then $(json_value nodes_computed <"$scratch/again") nodes computed"
done
