local col = require "colonnade"
return col.study { arm = { base = col.number { number = 1 } } }
