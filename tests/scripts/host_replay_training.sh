# Replay and run of a study that trains: what was tampered with is found and named: a byte of a stored tensor, a plugin (also one that only
# a training calls), the text, an op that writes to a weight of its input, an op that draws from LibTorch's generator.
. "$(dirname "$0")/common/host.bash"
. "$(dirname "$0")/common/training_study.bash"

needs_training
make_training_host
project=$(make_project replay)
write_training_study "$project" 3
plugins=$scratch/host/lib/colonnade

run_again() {
  local when=$1
  shift
  host "$project" run study --workers 2 "$@" >"$scratch/out" 2>"$scratch/err" ||
    { cat "$scratch/out" "$scratch/err" >&2; fail "$when: the run failed"; }
}
# The ops that the newest run computed, sorted.
computed_ops() {
  local journal
  journal=$(ls -t "$project"/runs/*/journal.jsonl | head -1)
  grep '"event":"computed"' "$journal" | grep -oE '"op":"[^"]*"' | cut -d'"' -f4 | sort | tr '\n' ' '
}
expect_computed() {
  [ "$(computed_ops)" = "$2" ] || { cat "$scratch/out" "$scratch/err" >&2; fail "$1: computed '$(computed_ops)', not '$2'"; }
}
expect_named() {
  grep -qF -- "$2" "$scratch/out" "$scratch/err" || { cat "$scratch/out" "$scratch/err" >&2; fail "$1 is not named: '$2'"; }
}

all="lora/lora mamba/mamba perplexity/perplexity perplexity/perplexity text/text train/train train/train "
run_again "the first run"
[ "$(computed_ops)" = "$all" ] || fail "the study computes '$(computed_ops)'"
first=$(basename "$project"/runs/*)

expect_code 0 host "$project" replay "$first" --workers 2
expect_named "agreement" 'every value that can be compared came out as recorded'

# A plugin that only the training itself is of: what it gives is the same, so what follows is found.
cp "$plugins/train.plugin.so" "$scratch/kept"
printf '\0' >>"$plugins/train.plugin.so"
host "$project" replay "$first" >"$scratch/out" 2>"$scratch/err" || true
expect_named "a changed trainer" "changed: the code of 'train' differs"
run_again "a changed trainer"
expect_computed "a changed trainer" "train/train train/train "
cp "$scratch/kept" "$plugins/train.plugin.so"

# The model's plugin: the trainings call it, so they are computed again although their own plugin and their inputs are the same.
cp "$plugins/mamba.plugin.so" "$scratch/kept"
printf '\0' >>"$plugins/mamba.plugin.so"
host "$project" replay "$first" >"$scratch/out" 2>"$scratch/err" || true
expect_named "a changed model" "changed: the code of 'mamba' differs"
run_again "a changed model"
expect_computed "a changed model" "${all/text\/text /}"
cp "$scratch/kept" "$plugins/mamba.plugin.so"

cp "$project/study/text.txt" "$scratch/text"
tr abc cab <"$scratch/text" >"$project/study/text.txt"
host "$project" replay "$first" >"$scratch/out" 2>"$scratch/err" || true
expect_named "a changed text" 'changed: parameter path of text/text names other contents'
run_again "a changed text"
expect_computed "a changed text" "${all/mamba\/mamba /}"
cp "$scratch/text" "$project/study/text.txt"

flip() {
  local byte
  byte=$(tail -c 100 "$1" | head -c 1 | od -An -tu1 | tr -d ' ')
  chmod u+w "$1"
  printf "\\x$(printf '%02x' $((byte ^ 1)))" | dd of="$1" bs=1 seek=$(($(stat -c %s "$1") - 100)) conv=notrunc status=none
}
# One byte of each: the models' embeddings among them.
flip_large_tensors() {
  local blob
  for blob in $(find "$project/.colonnade/store/blobs" -type f -size +15k); do flip "$blob"; done
}
flip_large_tensors
# A run that reads some of them says so, makes them anew, and its results are what they are when everything is computed afresh.
run_again "damaged tensors" --set rank=3
expect_named "a damaged tensor" 'is damaged'
expect_code 0 host "$project" replay last --workers 2
expect_named "agreement after the damage" 'every value that can be compared came out as recorded'
flip_large_tensors
expect_code 1 host "$project" replay "$first"
grep -qE "damaged: tensor '[^']+' of field 'model' of train" "$scratch/out" || { cat "$scratch/out" >&2; fail "a damaged tensor is not named"; }

offender() {
  printf 'checkpoint_seconds = 0\nvisualization = false\n' >"$project/study/study.toml"  # nothing reads the others
  cat >"$project/study/study.lua" <<LUA
local col = require "colonnade"
return col.study { name = "offender", arms = { { name = "only", model = col.mamba { d_model = 16, layers = 1 }:$1 {} } } }
LUA
  expect_code 1 host "$project" run study
  expect_named "$1" "$2"
}
cp "$FIXTURE_DIR/tensor_offender.plugin.so" "$plugins/"
offender write_to_weight 'op tensor_offender/write_to_weight of plugin tensor_offender wrote to its input'
offender draw_globally "op tensor_offender/draw_globally drew from the global generator"
