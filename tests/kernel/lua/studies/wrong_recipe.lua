local col = require "colonnade"
local base = col.mamba {}
local tuned = base:peft { strong = col.size {} }
return col.study { arms = { base = tuned } }
