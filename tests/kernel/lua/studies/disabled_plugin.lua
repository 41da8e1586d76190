local col = require "colonnade"
local base = col.op "broken/op" {}
