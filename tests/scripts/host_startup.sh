# --version, plan and ls answer in under 50 ms (the best of several tries; the machine may have other things to do).
. "$(dirname "$0")/common/not_sanitized.bash"
. "$(dirname "$0")/common/host.bash"
. "$(dirname "$0")/common/small_study.bash"

project=$(make_project startup)
write_small_study "$project"
run_study "$project" >/dev/null 2>&1 || fail "the run failed"

best_of_ten() {
  local best=1000000 start took
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    start=$(date +%s%N)
    host "$project" "$@" >/dev/null
    took=$((($(date +%s%N) - start) / 1000))
    [ "$took" -ge "$best" ] || best=$took
  done
  echo "$1: $best us"
  [ "$best" -lt 50000 ] || fail "$1 takes $best us"
}

best_of_ten --version
best_of_ten ls
best_of_ten plan study --plugin "$good_plugin"
best_of_ten run study --plugin "$good_plugin"
