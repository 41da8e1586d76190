local col = require "colonnade"
local options
local base = col.mamba { layers = options.layers }
