local col = require "colonnade"

return col.study {
  name = "trivial",
  question = "What is the sum of two numbers?",
  seeds = { 0, 1 },
  arms = {
    { name = "one", model = col.number { value = col.setting "first" } },
    { name = "two", model = col.add { a = col.number { value = col.setting "first" }, b = col.draw {} } },
  },
}
