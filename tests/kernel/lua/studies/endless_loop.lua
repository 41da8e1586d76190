local col = require "colonnade"

local function wait()
  while true do end
end

wait()
