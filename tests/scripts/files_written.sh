# A study's declared files: written where they should lie, readable by others, the same after a kill and by `report`.
. "$(dirname "$0")/common/host.bash"

project=$(make_project files)
cat >"$project/study/study.lua" <<'LUA'
local col = require "colonnade"
local function arm(name, count) return { name = name, model = col.bytes { count = count }, point = { count = count } } end
return col.study {
  name = "files", seeds = { 3, 4 },
  arms = { arm("few", 5), arm("many more", 20000) },
  metrics = function(model) return { sum = col.add { a = model:sum_bytes {}, b = col.draw {} } } end,
  files = function(model, arm)
    return { ["bytes.npy"] = model, ["squares.csv"] = col.table { rows = arm.point.count % 7 } }
  end,
}
LUA

run_study "$project" --json >"$scratch/first"
folder=$(run_folder "$project")
for arm in few "many more"; do
  for seed in 3 4; do
    for file in bytes.npy squares.csv; do
      [ -s "$folder/files/$arm/seed-$seed/$file" ] || fail "files/$arm/seed-$seed/$file was not written"
      grep -qF "files/$arm/seed-$seed/$file" "$folder/RESEARCH_REPORT.md" || fail "the report does not name $file of $arm"
    done
  done
done
[ "$(cat "$folder/files/few/seed-3/squares.csv")" = "$(printf 'row,square\n0,0\n1,1\n2,4\n3,9\n4,16\n')" ] ||
  fail "squares.csv holds $(cat "$folder/files/few/seed-3/squares.csv")"
# Magic and version, 118 characters of header, five bytes that count upwards from 0.
[ "$(od -An -tx1 -N10 "$folder/files/few/seed-3/bytes.npy" | tr -d ' \n')" = 934e554d505901007600 ] || fail "bytes.npy has another head"
[ "$(stat -c %s "$folder/files/few/seed-3/bytes.npy")" = 133 ] || fail "bytes.npy has another size"
[ "$(tail -c 5 "$folder/files/few/seed-3/bytes.npy" | od -An -tu1 | xargs)" = "0 1 2 3 4" ] || fail "bytes.npy holds other bytes"
if python3 -c 'import numpy' 2>/dev/null; then
  python3 - "$folder/files/many more/seed-4/bytes.npy" <<'PY' || fail "NumPy reads something else"
import sys, numpy
read = numpy.load(sys.argv[1])
assert read.dtype == numpy.uint8 and read.shape == (20000,) and (read == numpy.arange(20000) % 256).all()
PY
else
  echo "NumPy is not installed: the files were read without it"
fi

copy_results "$project" "$scratch/reference"
rm -r "$folder/files"
host "$project" report last --no-plots >/dev/null
same_results "$project" "$scratch/reference"

# Replay compares them as values: a byte that turns over in the store is found, and running again mends value and file.
expect_code 0 host "$project" replay last
blob=$(find "$project/.colonnade/store/blobs" -type f -size +15k | head -n 1)
[ -n "$blob" ] || fail "the large tensor has no file in the store"
chmod u+w "$blob"
printf '\xff' | dd of="$blob" bs=1 seek=9000 conv=notrunc status=none
expect_code 1 host "$project" replay last
grep -q "bytes" "$scratch/out" || fail "replay does not name the node: $(cat "$scratch/out")"
rm -r "$folder/files" "$folder/journal.jsonl"
run_study "$project" >/dev/null 2>&1 || fail "the study cannot go on after damage"
same_results "$project" "$scratch/reference"
rm -r "$project/runs"
run_study "$project" --json >"$scratch/again"
[ "$(json_value nodes_computed <"$scratch/again")" = 0 ] || fail "a second run computed something"
same_results "$project" "$scratch/reference"

# A value that nothing but a file reaches is planned, computed and replayed all the same.
project=$(make_project alone)
cat >"$project/study/study.lua" <<'LUA'
local col = require "colonnade"
return col.study {
  name = "alone", arms = { it = col.number {} }, files = { ["squares.csv"] = col.table { rows = 2 }.table },
}
LUA
host "$project" plan study --plugin "$good_plugin" --json >"$scratch/plan"
grep -q '"op": "good/table"' "$scratch/plan" || fail "the plan does not know the file's node"
run_study "$project" --json >"$scratch/first"
[ "$(json_value nodes_computed <"$scratch/first")" = 2 ] || fail "two nodes were to be computed"
[ -s "$(run_folder "$project")/files/squares.csv" ] || fail "files/squares.csv was not written"
host "$project" replay last --json >"$scratch/replay"
grep -q '"good/table"' "$scratch/replay" || fail "replay left the file's node out"
# gc keeps what a file is made of.
host "$project" gc --grace 0 >/dev/null
rm -r "$project/runs"
run_study "$project" --json >"$scratch/again"
[ "$(json_value nodes_computed <"$scratch/again")" = 0 ] || fail "gc removed what a file is made of"
echo "files are written, reported, replayed and kept"
