local col = require "colonnade"
local small = col.shrink {}
