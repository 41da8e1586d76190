# Replay finds every value as recorded, and names what is not: a damaged blob, another plugin, another text, an op that writes to its
# input, one that is not deterministic.
. "$(dirname "$0")/common/host.bash"
. "$(dirname "$0")/common/small_study.bash"

cp "$good_plugin" "$scratch/good.plugin.so"
good_plugin=$scratch/good.plugin.so
project=$(make_project replay)
write_small_study "$project"
echo "some text" >"$project/study/text.txt"
sed -i 's|^  arms = {|  shared = { text = col.file { path = "text.txt" }, time = col.add { a = col.clock {}, b = col.number {} } },\n&|' \
  "$project/study/study.lua"
run_study "$project" >/dev/null 2>&1 || fail "the run failed"

for workers in 1 2; do
  expect_code 0 host "$project" replay last --workers "$workers"
  grep -q 'every value that can be compared came out as recorded' "$scratch/out" || fail "replay does not say that it agrees"
  ! grep -qE 'diverged|inherited|changed|damaged' "$scratch/out" || fail "replay found what is not there"
  grep -q 'recorded .*, now ' "$scratch/out" || fail "a measured value is not shown beside the recorded one"
done
expect_code 0 host "$project" replay last --arm table
! grep -q 'draw' "$scratch/out" || fail "--arm table replays other arms"
expect_code 2 host "$project" replay last --arm tabel
grep -q "did you mean 'table'" "$scratch/err" || fail "an unknown arm has no nearest name"
[ -z "$(ls -A "$project/.colonnade/replay")" ] || fail "replay leaves its stores behind"

echo "another text" >"$project/study/text.txt"
host "$project" replay last >"$scratch/out" 2>&1 || true
grep -q 'changed: parameter path of good/file names other contents' "$scratch/out" || fail "a changed text is not named"
echo "some text" >"$project/study/text.txt"

printf '\0' >>"$good_plugin"
host "$project" replay last >"$scratch/out" 2>&1 || true
grep -q "changed: the code of 'good' differs" "$scratch/out" || fail "a changed plugin is not named"
truncate -s -1 "$good_plugin"

blob=$(find "$project/.colonnade/store/blobs" -type f -size +19k | head -1)
chmod u+w "$blob"
printf '\x55' | dd of="$blob" bs=1 seek=$(($(stat -c %s "$blob") - 100)) conv=notrunc status=none
expect_code 1 host "$project" replay last
grep -q "damaged: tensor 'tensor' of field 'tensor' of bytes" "$scratch/out" || { cat "$scratch/out"; fail "the damaged tensor is not named"; }

offender() {
  : >"$project/study/study.toml"
  cat >"$project/study/study.lua" <<LUA
local col = require "colonnade"
return col.study { name = "offender", arms = { { name = "only", model = $1 } } }
LUA
  run_study "$project" >"$scratch/out" 2>"$scratch/err"
}
! offender 'col.bytes { count = 5000 }:write_to_input {}' || fail "an op that writes to its input passes"
grep -q 'wrote to its input' "$scratch/out" "$scratch/err" || { cat "$scratch/out" "$scratch/err"; fail "an op that writes to its input is not named"; }
offender 'col.hidden_state {}' || fail "a run with hidden state failed"
expect_code 1 host "$project" replay last
grep -q 'first to diverge: hidden_state' "$scratch/out" || { cat "$scratch/out"; fail "hidden state is not named"; }
