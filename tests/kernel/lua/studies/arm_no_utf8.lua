local col = require "colonnade"
return col.study { arms = { ["a\xff"] = col.number { number = 1 } } }
