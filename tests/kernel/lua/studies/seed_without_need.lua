local col = require "colonnade"
local text = col.text { path = "data", seed = 0 }
