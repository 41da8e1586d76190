local col = require "colonnade"
return col.study { arms = { base = col.lora {} } }
