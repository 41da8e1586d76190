local col = require "colonnade"
local text = col.text { path = "data" }

local trained = text:train { data = text.train, steps = 10 }

return col.study { arms = { base = trained } }
