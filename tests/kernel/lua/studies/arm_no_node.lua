local col = require "colonnade"

return col.study {
  name = "arms",
  arms = { base = col.number { number = 1 }, other = 3 },
}
