#!/bin/bash
# A CLIP ViT-B/32 of full size, with random weights, through every compressor, evaluation and export: prints the seconds of
# each op and the largest memory of all processes together (proportional set sizes, so that shared pages count once).
#
#     tests/bench/vit_b32.sh COLONNADE PICTURES [FOLDER]
#
# COLONNADE is the executable, PICTURES the folder of pictures that bootstrap fetches. In FOLDER, that
# of temporary files by default, lies the store of some gigabytes while it runs.
set -euo pipefail

colonnade=$(realpath "$1")
pictures=$(realpath "$2")
folder=$(mktemp -d -p "${3:-${TMPDIR:-/tmp}}")
mkdir -p "$folder/.colonnade" "$folder/study"
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# Some tens of pictures to evaluate on: their number is not what is measured here.
zcat "$pictures/digits.csv.gz" | sed -n 1,300p > digits.csv
grep -m 150 fully-qualified "$pictures/emoji/emoji-test.txt" > emoji.txt

cat > study/study.toml <<TOML
threads = 2
workers = 1
seeds = [0]
digits_file = "$folder/digits.csv"
emoji = { font_file = "$pictures/emoji/NotoColorEmoji.ttf", names_file = "$folder/emoji.txt" }
vqa_folder = "$pictures/easy-vqa"
TOML

cat > study/study.lua <<'LUA'
local col = require "colonnade"

local digits = col.digits { path = col.setting "digits_file", size = 224 }
local tokenizer = digits.train:tokenizer { size = 514 }
local function classes_of(pictures)
  return pictures:classes { tokenizer = tokenizer, length = 77, templates = { "the number {}." } }
end
local classes, others = classes_of(digits.test), classes_of(digits.valid)
local emoji = col.emoji { font = col.setting "emoji.font_file", names = col.setting "emoji.names_file", size = 224 }
local vqa = col.vqa { path = col.setting "vqa_folder", limit = 8, size = 224 }
local captions = emoji.test:pairs { tokenizer = tokenizer, length = 77 }
local depicted = emoji.test:pairs { tokenizer = tokenizer, length = 77, prefix = "A photo depicts " }
local questions = vqa.test:questions { tokenizer = tokenizer, length = 77 }

-- In the published sizes; what a tuned model differs by is a hundredth of the way to another random model.
local function random(seed)
  return col.clip {
    vision_width = 768, vision_layers = 12, vision_heads = 12, text_width = 512, text_layers = 12, text_heads = 8,
    picture = 224, patch = 32, vocabulary = 49408, length = 77, dimensions = 512, seed = seed,
  }
end
local base = random(0)
local tuned = base:interpolate { tasks = { random(1) }, alphas = { 0.01 } }:relative_to { base = base }

local mended, blocks = "vision_model.*.fc2", "*.layers.*&kind:linear"
local keys = tuned:covariance { data = classes, samples = 32, sites = mended }
local pairs = base:contrasts { truthful = classes, misleading = others, samples = 16, sites = "vision_model.*.out_proj" }

local dare = tuned:dare { drop_rate = 0.995 }
local truncate = dare:truncate { on = "effective", rank = 8, sites = "vision_model.*.fc1" }
local project = truncate:project { contrasts = pairs, rank = 2 }
local compensate = project:compensate { before = tuned, keys = keys, rank = 4, alpha = 1.0 }

local pruned = base:dare { drop_rate = 0.95, rescale = "none", sites = blocks }
local hidden = base:dare { drop_rate = 0.5, strategy = "structured", structure = "hidden", rescale = "none" }
local low = base:truncate { on = "effective", rank = 64, sites = blocks }

local function metrics(model, arm)
  local size = model:stored { tuned = tuned, values = "fp16" }
  local result = {
    top1 = model:zero_shot({ data = classes }).top1,
    whole = size.whole_compression, difference = size.difference_compression, bound = size.bound,
    compact = model:compact({}).bytes,
  }
  if arm.point.delta then
    result.patch = model:rounded({ values = "fp16" }):patch({ values = "fp16" }).bytes
    result.hf = model:hf({}).bytes
    result.retrieved = model:retrieval({ data = captions }).picture_r1
    result.answered = model:answers({ data = questions }).accuracy
    result.captioned = model:captions({ data = captions, scorer = base, scored = depicted }).score
  end
  return result
end

return col.study {
  name = "vit_b32",
  arms = {
    { name = "tuned", model = tuned, point = { delta = true } },
    { name = "four compressors", model = compensate, point = { delta = true } },
    { name = "95 % zeros realised", model = pruned:realize { by = "time", timings = pruned:timings { samples = 400 } } },
    { name = "half the hidden units realised", model = hidden:realize {} },
    { name = "rank 64 realised", model = low:realize {} },
  },
  metrics = metrics,
}
LUA

# Of all processes of the run, every half second.
watch_memory() {
  local most=0
  while kill -0 "$1" 2> /dev/null; do
    local sum=0
    for process in $(pgrep -s "$1" || true); do
      local size
      size=$(awk '/^Pss:/ { print $2 }' "/proc/$process/smaps_rollup" 2> /dev/null || true)
      sum=$((sum + ${size:-0}))
    done
    ((sum > most)) && most=$sum
    echo "$most" > peak
    sleep 0.5
  done
}

echo "load before: $(cut -d ' ' -f 1-3 /proc/loadavg), cores: $(nproc)"
start=$SECONDS
setsid "$colonnade" run study > run.log 2>&1 &
run=$!
watch_memory "$run"
wait "$run" || { cat run.log; exit 1; }
echo "whole run: $((SECONDS - start)) s, load after: $(cut -d ' ' -f 1-3 /proc/loadavg)"
echo "largest memory of all processes: $(($(cat peak) / 1024)) MiB; store: $(du -sm .colonnade/store | cut -f 1) MiB"
"$colonnade" show "$(ls -d runs/*/ | head -n 1)"
