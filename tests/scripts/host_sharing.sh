# Arms share what they have in common, a further arm computes only itself, and a finished run starts no worker.
. "$(dirname "$0")/common/host.bash"

project=$(make_project sharing)
write_study() {
  cat >"$project/study/study.lua" <<'LUA'
local col = require "colonnade"
local base = col.sleep { milliseconds = 1500 }
local arms = {}
for i = 1, col.setting "arms" do
  arms[i] = { name = "arm" .. i, model = col.add { a = base, b = col.number { value = i } } }
end
return col.study { name = "sharing", arms = arms }
LUA
  echo "arms = $1" >"$project/study/study.toml"
}

write_study 5
host "$project" plan study --plugin "$good_plugin" --json >"$scratch/plan"
[ "$(json_value found <"$scratch/plan")" = 0 ] || fail "an empty store has nothing to find"
[ "$(grep -c '"op": "good/sleep"' "$scratch/plan")" = 1 ] || fail "the base is planned more than once"

start=$(date +%s%N)
run_study "$project" --json >"$scratch/first"
middle=$(date +%s%N)
run_study "$project" --json >"$scratch/second"
end=$(date +%s%N)
[ "$(json_value nodes_computed <"$scratch/first")" = 11 ] || fail "five arms on one base are eleven nodes"
[ "$(json_value was_finished <"$scratch/second")" = true ] || fail "the second run did not find the first"
[ "$(json_value workers_started <"$scratch/second")" = 0 ] || fail "the second run started a worker"
[ "$(json_value table <"$scratch/second")" = "$(json_value table <"$scratch/first")" ] || fail "the tables differ"
echo "first run $(((middle - start) / 1000000)) ms, second $(((end - middle) / 1000000)) ms"
[ $((end - middle)) -lt $((middle - start)) ] || fail "finding a run takes longer than running it"

write_study 6
host "$project" plan study --plugin "$good_plugin" --json >"$scratch/plan"
[ "$(json_value found <"$scratch/plan")" = 11 ] || fail "the plan does not find what is shared"
run_study "$project" --json >"$scratch/sixth"
[ "$(json_value nodes_computed <"$scratch/sixth")" = 2 ] || fail "the sixth arm computed more than itself"
[ "$(json_value nodes_found <"$scratch/sixth")" = 11 ] || fail "the sixth arm did not find the others"
