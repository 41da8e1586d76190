local col = require "colonnade"

local adapters = col.lora { rnak = 4 }

return col.study { arms = { base = adapters(col.mamba {}) } }
