local col = require "colonnade"

local steps = col.setting("steps", 100)
