local col = require "colonnade"
local ablation = require "colonnade.ablation"
return col.study { arms = ablation.arms { base = col.mamba {}, stages = { { "lora", 3 } } } }
