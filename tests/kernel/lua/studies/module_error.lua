local broken = require "lib.broken"

broken.build(nil)
