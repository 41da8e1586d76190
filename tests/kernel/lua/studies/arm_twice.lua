local col = require "colonnade"
local one = col.number { number = 1 }
return col.study { arms = { { name = "a", model = one }, { name = "a", model = one } } }
