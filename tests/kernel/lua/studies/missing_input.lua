local col = require "colonnade"
local base = col.mamba {}:train { steps = 10 }
return col.study { arms = { base = base } }
