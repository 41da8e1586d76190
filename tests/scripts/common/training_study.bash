# A small study that trains with LibTorch: a Mamba on a text made here, an adapter, a perplexity; checkpoints at every step.
write_training_study() {
  local project=$1 steps=${2:-12}
  awk 'BEGIN { srand(7); for (i = 0; i < 3000; ++i) printf "%s%s", substr("abcdefghij", 1 + int(rand() * 10), 3), i % 9 == 8 ? "\n" : " " }' \
    >"$project/study/text.txt"
  cat >"$project/study/study.lua" <<'LUA'
local col = require "colonnade"
local text = col.text { path = "text.txt" }
local function train(model, label)
  return model:train { data = text.train, steps = col.setting "steps", batch = 2, length = 24, learning_rate = 3e-3, log_every = 1, label = label }
end
local base = train(col.mamba { d_model = 16, layers = 1, d_state = 4 }, "base")
local function arm(name, model) return { name = name, model = model } end
return col.study {
  name = "training",
  arms = { arm("base", base), arm("lora", train(base:lora { rank = col.setting "rank" }, "lora")) },
  metrics = function(model) return { nats = model:perplexity({ data = text.test, length = 24 }).nats } end,
}
LUA
  printf 'steps = %d\nrank = 2\ncheckpoint_seconds = 0\nvisualization = false\n' "$steps" >"$project/study/study.toml"
}

# A host with copies of the plugins that this study calls, so that they can be changed, and so that no others are described.
make_training_host() {
  local name
  mkdir -p "$scratch/host/bin" "$scratch/host/lib/colonnade"
  cp "$COLONNADE" "$scratch/host/bin/"
  cp -L "$BUILD_DIR"/lib/libcolonnade_*.so "$scratch/host/lib/"
  ln -s "$(readlink -f "$BUILD_DIR/lib/libtorch")" "$scratch/host/lib/libtorch"
  ln -s "$BUILD_DIR/share" "$scratch/host/share"
  for name in text mamba train lora perplexity; do cp "$BUILD_DIR/lib/colonnade/$name.plugin.so" "$scratch/host/lib/colonnade/"; done
  COLONNADE=$scratch/host/bin/colonnade
}

needs_training() {
  [ -e "$BUILD_DIR/lib/colonnade/train.plugin.so" ] || { echo "skipped: this build has no plugins with tensors"; exit 77; }
}
