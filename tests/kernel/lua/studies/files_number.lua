local col = require "colonnade"
local facts = col.statistics(col.mamba { seed = 0 })
return col.study {
  files = 3,
  arms = { it = facts }, metrics = function(model) return { pages = facts } end,
}
