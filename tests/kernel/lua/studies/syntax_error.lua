local col = require "colonnade"

local base = col.mamba { layers = }
