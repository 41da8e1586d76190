# Ctrl-C ends a run cleanly and the same command continues; two processes do not execute one run.
. "$(dirname "$0")/common/host.bash"

project=$(make_project interrupt)
cat >"$project/study/study.lua" <<'LUA'
local col = require "colonnade"
local arms = {}
for i = 1, 4 do arms[i] = { name = "arm" .. i, model = col.sleep { milliseconds = 1000 + i } } end
return col.study { name = "interrupt", arms = arms }
LUA

run_in_background() {
  (cd "$project" && exec "$COLONNADE" run study --plugin "$good_plugin" --workers 1) >"$scratch/background" 2>&1 &
  background=$!
}
wait_for_computed() {
  local tries=0
  until grep -qs '"event":"computed"' "$project"/runs/*/journal.jsonl; do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || { cat "$scratch/background" >&2; fail "nothing was computed"; }
    sleep 0.1
  done
}

run_in_background
wait_for_computed
expect_code 3 run_study "$project"
grep -q 'another process is executing this run' "$scratch/err" || fail "the second process did not say why it ended"
kill -INT "$background"
code=0
wait "$background" || code=$?
[ "$code" = 130 ] || { cat "$scratch/background" >&2; fail "an interrupted run ends with 130, not $code"; }
grep -q 'the same command continues' "$scratch/background" || fail "an interrupted run does not say how it goes on"
no_processes "$project"
computed=$(grep -c '"event":"computed"' "$project"/runs/*/journal.jsonl)
run_study "$project" --json >"$scratch/rest" 2>/dev/null
[ "$(json_value nodes_computed <"$scratch/rest")" = $((4 - computed)) ] || fail "what was computed was computed again"

# An arm that never ends in Lua: Ctrl-C ends it, rather than the limit of instructions.
project=$(make_project interrupt_lua)
cat >"$project/study/study.lua" <<'LUA'
local col = require "colonnade"
return col.study {
  name = "interrupt_lua",
  arms = { { name = "endless", model = function() if col.number {}:value() == 1 then while true do end end end } },
}
LUA
run_in_background
# Nothing is written while Lua runs: a second of the coordinator's processor time, of which all else takes little, is the sign.
tries=0
until [ "$(awk '{ print $14 }' "/proc/$background/stat")" -ge "$(getconf CLK_TCK)" ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 600 ] || fail "the endless arm does not run"
  sleep 0.1
done
kill -INT "$background"
code=0
wait "$background" || code=$?
[ "$code" = 130 ] || { cat "$scratch/background" >&2; fail "an endless arm that is interrupted ends with 130, not $code"; }
grep -q '"event":"interrupted"' "$project"/runs/*/journal.jsonl || fail "the journal does not say that it was interrupted"
! grep -q '"event":"trial"' "$project"/runs/*/journal.jsonl || fail "an endless arm ended by itself, not by the interrupt"
