local col = require "colonnade"
local one = col.number { number = 1 }
local figure = col.scatter { x = "value", y = "value", groop = "arm" }
return col.study { arms = { base = one }, figures = { figure } }
