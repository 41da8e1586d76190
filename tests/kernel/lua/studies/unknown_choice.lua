local col = require "colonnade"
local text = col.text { path = "data", vocabulary = "byte" }
return col.study { arms = { base = text } }
