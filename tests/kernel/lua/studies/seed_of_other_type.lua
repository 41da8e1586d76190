local col = require "colonnade"
local base = col.mamba { seed = -1 }
