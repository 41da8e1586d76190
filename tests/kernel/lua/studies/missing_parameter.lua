local col = require "colonnade"
local text = col.text { path = "data" }
return col.study { arms = { base = col.mamba {}:train { data = text.train } } }
