local col = require "colonnade"
for i, x in ipair({ 1 }) do end
