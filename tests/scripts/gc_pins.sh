# Collecting garbage keeps what runs, live ones too, and pins reach.
. "$(dirname "$0")/common/host.bash"
. "$(dirname "$0")/common/small_study.bash"

project=$(make_project pins)
write_small_study "$project"
computed() { run_study "$project" --json >"$scratch/run" && json_value nodes_computed <"$scratch/run"; }
collect() { host "$project" gc --grace 0 --json "$@" >"$scratch/gc"; }
blobs_kept() { json_value kept_blobs <"$scratch/gc"; }

all=$(computed)
[ "$all" -gt 5 ] || fail "the study has only $all nodes"
collect
[ "$(blobs_kept)" -ge 1 ] || fail "a run's values were removed"

# A pin keeps them when the run is gone.
host "$project" gc --pin last >"$scratch/pinned"
grep -q "^pinned small-.*: $all values" "$scratch/pinned" || fail "gc --pin says $(cat "$scratch/pinned")"
host "$project" gc --pins | grep -q '^small-' || fail "gc --pins does not list the pin"
rm -r "$project/runs"
collect
[ "$(json_value pins <"$scratch/gc")" = 1 ] || fail "gc did not see the pin"
[ "$(computed)" = 0 ] || fail "pinned values were removed"

# Without it they go.
id=$(host "$project" gc --pins | sed -n 's/^small-[0-9-]*-\([0-9a-f]*\) .*/\1/p')
expect_code 2 host "$project" gc --unpin small-nothing
grep -q "no pin 'small-nothing'" "$scratch/err" || fail "an unknown pin is answered with: $(cat "$scratch/err")"
host "$project" gc --unpin "$id" >/dev/null
rm -r "$project/runs"
collect
[ "$(blobs_kept)" = 0 ] || fail "values stay that nothing reaches"
[ "$(computed)" = "$all" ] || fail "values of no run and no pin were found"

# One value alone: its node is found, the others are not.
host "$project" gc --pin last:bytes >/dev/null
rm -r "$project/runs"
collect
[ "$(blobs_kept)" = 1 ] || fail "one pinned value keeps $(blobs_kept) blobs"
[ "$(computed)" = $((all - 1)) ] || fail "pinning one value kept another number of them"

# A pin that cannot be read is no licence to remove what it kept.
for file in "$project"/.colonnade/store/pins/*.json; do echo '{"name": "x", "keys": ["12' >"$file"; done
expect_code 3 host "$project" gc --grace 0
grep -q 'this pin is damaged' "$scratch/err" || fail "a damaged pin is answered with: $(cat "$scratch/err")"
rm -r "$project/.colonnade/store/pins"

# A run under way: --keep names another one, and what it has computed so far stays.
rm -r "$project/runs"
collect
mkdir "$project/other"
echo 'local col = require "colonnade"
return col.study { name = "other", arms = { it = col.number { value = 5 } } }' >"$project/other/study.lua"
host "$project" run other --plugin "$good_plugin" >/dev/null 2>&1
echo "pause = 3000" >"$project/study/study.toml"
run_study "$project" --workers 2 >"$scratch/live" 2>&1 &
live=$!
for ((tries = 0; tries < 200; ++tries)); do
  grep -q '"event":"computed".*"op":"good/sum_column"' "$project"/runs/small-*/journal.jsonl 2>/dev/null && break
  sleep 0.05
done
collect --keep other
kill -0 "$live" 2>/dev/null || fail "the live run ended before garbage was collected"
[ "$(blobs_kept)" -ge 1 ] || fail "a live run's values were removed"
wait "$live" || fail "collecting garbage broke a live run"
rm -r "$project"/runs/small-*
[ "$(computed)" = 0 ] || fail "a live run's values were removed"
echo "pins and live runs keep their values"
