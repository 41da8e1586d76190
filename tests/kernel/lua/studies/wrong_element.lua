local col = require "colonnade"
local text = col.text { path = "data" }
local trained = col.mamba {}:train { data = text.train, steps = 3, betas = { 0.9, 1.5 } }
return col.study { arms = { base = trained } }
