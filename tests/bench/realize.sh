#!/bin/bash
# Does a realised model run faster than the one it was, and from how much less? A Mamba with random weights, thinned, cut down
# and truncated: `latency` of the model and of its realised forms, in one run, each alone in a process of its own.
#
#     tests/bench/realize.sh COLONNADE TEXT
#
# COLONNADE is the executable, TEXT a folder of texts that the op `text` reads.
set -euo pipefail

colonnade=$(realpath "$1")
text=$(realpath "$2")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/.colonnade" "$folder/study"
cd "$folder"

cat > study/study.toml <<TOML
threads = 1
workers = 1
seeds = [0]
text_path = "$text"
TOML

cat > study/study.lua <<'LUA'
local col = require "colonnade"

local text = col.text { path = col.setting "text_path" }
local base = col.mamba { d_model = 768, layers = 4 }
local function thinned(rate) return base:dare { drop_rate = rate, rescale = "none", sites = "kind:linear" } end
local channels = { drop_rate = 0.5, strategy = "structured", structure = "channels", rescale = "none" }
local cases = {
  { "dense", base }, { "0.8 zeros", thinned(0.8) }, { "0.9 zeros", thinned(0.9) }, { "0.95 zeros", thinned(0.95) },
  { "0.99 zeros", thinned(0.99) }, { "half the channels", base:dare(channels) },
  { "rank 64", base:truncate { on = "effective", rank = 64, sites = "kind:linear" } },
}

local arms = {}
for _, case in ipairs(cases) do
  local name, model = case[1], case[2]
  local timings = model:timings { samples = 256, repeats = 11 }
  arms[#arms + 1] = { name = name .. " as it is", model = model }
  arms[#arms + 1] = { name = name .. " by bytes", model = model:realize {} }
  arms[#arms + 1] = { name = name .. " by time", model = model:realize { by = "time", timings = timings } }
end

return col.study {
  name = "realize", arms = arms,
  metrics = function(model)
    local speed = model:latency { data = text.test, batch = 1, length = 256, repeats = 15 }
    return { milliseconds = speed.median, file = model:compact({}).bytes }
  end,
}
LUA

echo "load before: $(cut -d ' ' -f 1-3 /proc/loadavg), cores: $(nproc)"
"$colonnade" run study > run.log 2>&1 || { cat run.log; exit 1; }
echo "load after: $(cut -d ' ' -f 1-3 /proc/loadavg)"
cat runs/*/measured.csv
cut -d , -f 1-20 runs/*/results.csv
