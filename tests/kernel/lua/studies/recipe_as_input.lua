local col = require "colonnade"
local text = col.text { path = "data" }
local value = col.perplexity { model = col.lora {}, data = text.test }
return col.study { arms = { base = value } }
