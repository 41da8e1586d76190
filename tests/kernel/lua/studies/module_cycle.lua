local one = require "lib.one"
