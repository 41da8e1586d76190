-- An ablation: the base, each stage alone, and all of them in the order given.
--
--   local ablation = require "colonnade.ablation"
--   arms = ablation.arms {
--     base   = base,
--     stages = { { "scan", col.scan {} }, { "mask", col.mask { target_sparsity = 0.5 } } },
--     finish = function(model) return model:train { data = text.train, steps = 200 } end,
--   }
--
-- gives the arms "base", "+scan", "+mask", "all". A stage is a recipe or a function(model, point); `finish` (either,
-- may be absent) comes last in every arm. Each arm's point says of every stage whether it is in:
-- { scan = true, mask = false }.

local arms = require "colonnade.arms"

local ablation = {}

function ablation.arms(options)
  arms.check_options("ablation.arms", options, { base = true, stages = true, finish = false })
  local stages = arms.check_stages("ablation.arms", options.stages)
  local function arm(name, chosen)
    return arms.composed("ablation.arms", name, options.base, stages, chosen, options.finish)
  end
  local list, all = { arm("base", {}) }, {}
  for _, stage in ipairs(stages) do
    list[#list + 1] = arm("+" .. stage[1], { [stage[1]] = true })
    all[stage[1]] = true
  end
  if #stages > 1 then list[#list + 1] = arm("all", all) end
  return list
end

return ablation
