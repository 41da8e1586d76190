local col = require "colonnade"

local text = col.text { path = col.setting("text.pth") }
