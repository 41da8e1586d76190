local col = require "colonnade"
return col.study { seeds = { 0, -1 }, arms = { base = col.number { number = 1 } } }
