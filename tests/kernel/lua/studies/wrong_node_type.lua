local col = require "colonnade"
local base = col.mamba {}

local trained = base:train { data = base, steps = 10 }

return col.study { arms = { base = trained } }
