local col = require "colonnade"

local base = col.mamba {
  layers = 0,
}

return col.study { arms = { base = base } }
