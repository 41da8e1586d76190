local col = require "colonnade"
local text = col.text { path = "data" }
local trained = col.mamba {}:train { data = text.tain, steps = 3 }
