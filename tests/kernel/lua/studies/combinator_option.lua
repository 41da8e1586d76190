local col = require "colonnade"
local ablation = require "colonnade.ablation"
local base = col.mamba {}

return col.study {
  arms = ablation.arms { base = base, stage = { { "lora", col.lora {} } } },
}
