# An op that refuses what it was given: an arm that attempts goes on without it, another one fails, and neither run nor replay differ
# from time to time. An op that fails in another way ends either arm.
. "$(dirname "$0")/common/host.bash"

project=$(make_project refusals)
cat >"$project/study/study.lua" <<'LUA'
local col = require "colonnade"
local cascade = require "colonnade.cascade"
local function measure(model) return col.add { a = model, b = col.number { value = 0 } } end
local function refuse(model) return col.add { a = col.refuse { a = model }, b = model } end
local function die(model) return col.add { a = col.op "good/fail" {}, b = model } end
local guarded, told = cascade.guarded {
  name = "guarded", base = col.number { value = 1 }, retention = measure,
  stages = {
    { "halve", function(model) return col.add { a = model, b = col.number { value = -0.01 } } end },
    { "refused", refuse },
    { "again", function(model) return col.add { a = model, b = col.number { value = -0.02 } } end },
  },
}
return col.study {
  name = "refusals",
  arms = {
    guarded,
    { name = "asked", model = function() return col.number { value = refuse(col.number {}):value() } end },
    { name = "dead", model = function() return col.attempt { die(col.number {}) } and col.number {} end },
  },
  metrics = function(model, arm)
    return { left = model, note = arm.name == "guarded" and told.note or nil }
  end,
}
LUA

expect_code 1 run_study "$project"
results=$(run_folder "$project")/comprehensive_results.json
grep -q 'what it was given has no null space' "$results" || fail "the results do not say what was refused"
told=$(tr -d '\n' <"$results")
[[ $told == *refused*'rolled back'*'no null space'*again*kept* ]] || fail "the cascade did not go on: $told"
grep -q 'guarded.*0\.97' "$(run_folder "$project")/results.csv" || fail "the cascade does not end without the refused stage"
host "$project" show last >"$scratch/shown"
grep -q 'asked.*no null space' "$scratch/shown" || fail "an arm that does not attempt has to fail with what the op said"
grep -q 'dead.*as asked' "$scratch/shown" || fail "a failure that is no refusal has to end the arm"

copy_results "$project" "$scratch/reference"
rm -rf "$project/runs" "$project/.colonnade/store"
expect_code 1 run_study "$project" --workers 1
same_results "$project" "$scratch/reference" "again, with one worker"
host "$project" replay last >"$scratch/out" 2>&1 || { cat "$scratch/out" >&2; fail "replay does not agree"; }
