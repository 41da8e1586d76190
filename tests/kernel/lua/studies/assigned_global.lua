local col = require "colonnade"

base = col.mamba {}

return col.study { arms = { base = base } }
