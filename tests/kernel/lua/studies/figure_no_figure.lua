local col = require "colonnade"
local one = col.number { number = 1 }
return col.study { arms = { base = one }, figures = { "scatter" } }
