local col = require "colonnade"

local text = col.text { path = "dta" }

return col.study { arms = { base = text } }
