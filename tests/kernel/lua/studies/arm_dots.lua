local col = require "colonnade"
return col.study { arms = { [".."] = col.number { number = 1 } } }
