local col = require "colonnade"

col.study { arms = { base = col.number { number = 1 } } }
