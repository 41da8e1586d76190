local col = require "colonnade"

local base = col.mamba {}
local small = base:shrink {}
