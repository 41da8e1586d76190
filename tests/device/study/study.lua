-- A small Mamba trained on a device, as it is and with what methods attach, and scored there: run twice, the weights are the
-- same bits; run on the CPU, they are the same up to rounding. `more` and `recompute` are the same training, its intermediate
-- values kept or computed again: the same up to rounding.
local col = require "colonnade"

local text = col.text { path = col.setting "text.path" }

local function train(model, steps, label, recompute)
  return model:train {
    data = text.train, valid = text.valid, steps = steps, batch = 8, length = 256, learning_rate = 2e-3, warmup = 10,
    clip = 1.0, precision = col.setting "precision", evaluate_every = steps, log_every = 10, label = label,
    recompute = recompute,
  }
end

local steps = col.setting "steps"
local base = train(col.mamba { d_model = 128, layers = 4 }, steps, "base")
local few = math.max(1, steps // 10)

return col.study {
  name = "card",
  seeds = { 0 },
  arms = {
    base = base,
    lora = train(base:lora { sites = "kind:linear", rank = 4 }, few, "lora"),
    mask = train(base:mask { target_sparsity = 0.5 }, few, "mask"),
    ia3 = train(base:ia3 {}, few, "ia3"),
    more = train(base, few, "more"),
    recompute = train(base, few, "recompute", true),
  },
  metrics = function(model)
    return { perplexity = model:perplexity { data = text.test, max_tokens = 8192 } }
  end,
}
