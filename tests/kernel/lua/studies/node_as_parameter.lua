local col = require "colonnade"

local base = col.mamba {}
local other = col.mamba { layers = base }

return col.study { arms = { base = base } }
