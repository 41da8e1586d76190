local col = require "colonnade"
local base = col.op "mamba/manba" {}
