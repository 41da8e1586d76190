local col = require "colonnade"
local base = col.mamba({ layers = 2 }, { d_model = 64 })
