local col = require "colonnade"
local base = col.mamba {}

return col.study { arms = { base = bse } }
