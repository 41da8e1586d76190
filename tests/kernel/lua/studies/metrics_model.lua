local col = require "colonnade"

return col.study {
  arms = { base = col.mamba {} },
  metrics = function(model) return { size = model:size {}, again = model } end,
}
