local col = require "colonnade"
local where = col.setting "corpus.dir"
local text = col.text { path = where }
