# What a data set leaves out can be read: `show` prints the counts, the reasons and the first names.
. "$(dirname "$0")/common/host.bash"
. "$(dirname "$0")/common/lone_host.bash"

make_lone_host
mkdir -p "$scratch/host/lib/colonnade"
cp "$BUILD_DIR/lib/colonnade/images.plugin.so" "$scratch/host/lib/colonnade/"
project=$(make_project skips)
mkdir "$project/pictures"
printf '\211PNG\r\n\032\nhello' >"$project/pictures/bad.png"
printf '\211PNG\r\n\032\n\0\0\0\rIHDR\0\0\0\001\0\0\0\001\b\002\0\0\0\220wS\336' >"$project/pictures/good.png"
printf '\0\0\0\014IDAT\b\327c\370\317\300\0\0\003\001\001\0\030\335\215\260' >>"$project/pictures/good.png"
printf '\0\0\0\0IEND\256B`\202' >>"$project/pictures/good.png"
entry=$(printf '\352\260\200%.0s' {1..40}) # letters of three bytes, so that a cut may fall within one
cat >"$project/captions.json" <<JSON
{ "images": [{ "id": 1, "file_name": "good.png" }, { "id": 2, "file_name": "bad.png" }, { "id": 3, "file_name": "gone.png" }],
  "annotations": [{ "image_id": 1, "caption": "red" }, { "image_id": 2, "caption": "torn" }, { "image_id": 3, "caption": "gone" },
                  { "image_id": 1, "text": "$entry" }] }
JSON
cat >"$project/study/study.lua" <<LUA
local col = require "colonnade"
local data = col.coco { train = "$project/captions.json", pictures = "$project/pictures", size = 8 }
return col.study { name = "skips", arms = { { name = "all", model = col.bytes { count = 2 } } },
  metrics = function(model) return { sum = model:sum_bytes {}, info = data.info } end }
LUA

echo "visualization = false" >"$project/study/study.toml"
run_study "$project" >/dev/null
host "$project" show last coco >"$scratch/shown"
for wanted in '"count": 3' '"train": 1' 'gone.png: cannot be opened' 'bad.png: a damaged PNG' 'an annotation without image_id and caption'; do
  grep -qF "$wanted" "$scratch/shown" || fail "show does not say $wanted: $(cat "$scratch/shown")"
done
host "$project" show last coco --json >"$scratch/shown.json"
grep -qF '"reasons"' "$scratch/shown.json" || fail "show --json has no record: $(cat "$scratch/shown.json")"
for file in "$scratch"/shown "$scratch"/shown.json; do
  ! grep -q "$(printf '\357\277\275')" "$file" || fail "an entry was cut within a letter: $(cat "$file")"
done
