local col = require "colonnade"
local size = col.mamba {}:size {}
if size.stored:value() > 3 then
  error("large")
end
