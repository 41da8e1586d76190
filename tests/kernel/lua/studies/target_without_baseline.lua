local col = require "colonnade"
local one = col.number { number = 1 }
return col.study {
  arms = { base = one },
  report = { col.target { name = "small", metric = "value", value = 0.9, better = "higher", as = "reduction" } },
}
