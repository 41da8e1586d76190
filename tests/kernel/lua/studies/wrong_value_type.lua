local col = require "colonnade"

local base = col.mamba { layers = "two" }

return col.study { arms = { base = base } }
