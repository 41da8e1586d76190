local col = require "colonnade"
local text = col.text { path = "data" }
local tuned = col.mamba {}:peft { strong = col.train { data = text.train, steps = 3 } }
return col.study { arms = { base = tuned } }
