local col = require "colonnade"
local base = col.mamba {}:train { data = 3, steps = 10 }
return col.study { arms = { base = base } }
