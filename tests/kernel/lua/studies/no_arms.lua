local col = require "colonnade"
return col.study { arms = {} }
