local col = require "colonnade"
local text = col.text { path = "data" }
local base = col.mamba {}
return col.study { arms = { base = text }, metrics = function(model) return { a = base:perplexity { data = base:size {} } } end }
