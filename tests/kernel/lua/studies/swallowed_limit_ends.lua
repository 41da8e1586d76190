local col = require "colonnade"
pcall(function()
  while true do end
end)
return col.study { arms = { base = col.number { number = 1 } } }
