local col = require "colonnade"

local betas = { 0.9 }
betas[2] = betas
local recipe = col.train { steps = 10, betas = betas }

return col.study { arms = { base = recipe(col.mamba {}) } }
