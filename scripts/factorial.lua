-- The full two-level factorial over named stages: every subset, 2^k arms.
--
--   local factorial = require "colonnade.factorial"
--   arms = factorial.arms {
--     base   = base,
--     stages = { { "scan", col.scan {} }, { "mask", col.mask {} }, { "peft", col.peft {} } },
--   }
--   report = { col.effects { metric = "perplexity", factors = { "scan", "mask", "peft" }, log = true } }
--
-- The arms are "base", "+scan", "+mask", "+scan+mask", ..., "all", the first stage changing fastest, with the names of
-- `ablation`: its arms are among these. Stages, `finish` and points are as there; stages are applied in their order.

local col = require "colonnade"
local arms = require "colonnade.arms"

local factorial = {}

local most_stages = 10

local function arm_name(stages, chosen, count)
  if count == 0 then return "base" end
  if count == #stages and count > 1 then return "all" end
  local name = ""
  for _, stage in ipairs(stages) do
    if chosen[stage[1]] then name = name .. "+" .. stage[1] end
  end
  return name
end

function factorial.arms(options)
  arms.check_options("factorial.arms", options, { base = true, stages = true, finish = false })
  local stages = arms.check_stages("factorial.arms", options.stages)
  if #stages > most_stages then
    col.fail(string.format("factorial.arms: %d stages are %d arms; allowed: up to %d stages", #stages, 1 << #stages,
                           most_stages))
  end
  local list = {}
  for subset = 0, (1 << #stages) - 1 do
    local chosen, count = {}, 0
    for i, stage in ipairs(stages) do
      if subset >> (i - 1) & 1 == 1 then
        chosen[stage[1]] = true
        count = count + 1
      end
    end
    local name = arm_name(stages, chosen, count)
    list[#list + 1] = arms.composed("factorial.arms", name, options.base, stages, chosen, options.finish)
  end
  return list
end

return factorial
