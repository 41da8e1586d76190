-- Three ways to compress what fine-tuning changed, in every order and at equal bytes: which order keeps most of the gain,
-- and does any of them beat what is simpler?

local col = require "colonnade"
local arms = require "colonnade.arms"
local cascade = require "colonnade.cascade"
local training = require "training"

local base, tuned = training.base, training.tuned
local digits, emoji = training.digits, training.emoji
local values = "fp16"  -- what numbers are stored as, and measured as

local function rounded(model, as) return model:rounded { values = as or values } end
local function top1(model, part) return model:zero_shot({ data = part or digits.test }).top1 end
local function found(model) return model:retrieval({ data = emoji.test }).picture_r1 end

local function kept_of(model, part)
  return top1(model, part):retention { base = top1(base, part), tuned = top1(tuned, part) }
end

local function size_of(model, as, positions)
  return model:stored { tuned = tuned, values = as or values, positions = positions or "entropy" }
end

-- The stages. Truncation and compensation have few sites, since their ranks are the same at every level: at the highest
-- they must leave something for what is dropped to be kept in.
local truncated_sites, mended_sites = "vision_model.*.fc1", "vision_model.*.fc1,vision_model.*.fc2"
local keys = tuned:covariance { data = digits.train, samples = 128, sites = mended_sites }
local stages = {
  { "dare", col.dare {} },
  { "nullu", col.truncate { on = "effective", rank = col.setting "stages.nullu_rank", sites = truncated_sites } },
  { "alphaedit", function(model)
    return model:compensate { before = tuned, keys = keys, rank = col.setting "stages.alphaedit_rank", alpha = 1.0 }
  end },
}

local function level_by(stage, size)
  return { stage = stage, parameter = "drop_rate", size = size, most = 1 }
end
local function stored(model) return size_of(model).difference_compression end

-- Guards see validation data only. In the orderings they write down and don't act: orders that went back would be alike.
local watch = {
  retention = function(model) return kept_of(rounded(model), digits.valid).share end,
  compression = stored,
}
local levels = col.setting "levels"
local orderings, traces, counts = cascade.orderings {
  base = tuned, stages = stages, levels = levels, by = level_by("dare", stored), watch = watch,
}
local ablation, ablated = cascade.ablation {
  base = tuned, stages = stages, levels = { col.setting "ablation_level" }, by = level_by("dare", stored),
}
for _, each in ipairs(ablation) do
  each.name = "only " .. each.name
  each.point.stages, each.point.order = each.point.order, nil
end

-- Rivals: at the same bytes, or over their own rates and ranks. How they are stored, by name, where not as all others.
local rivals, how = {}, {}
local function at_levels(name, method, recipe, wanted, as, positions)
  local function size(model) return size_of(model, as, positions).difference_compression end
  local list = cascade.orderings {
    base = tuned, stages = { { name, recipe } }, levels = wanted, by = level_by(name, size),
  }
  for _, each in ipairs(list) do
    rivals[#rivals + 1], how[each.name] = each, { values = as, positions = positions }
    each.point.method, each.point.order = method, nil
  end
end
at_levels("dare alone", "dare", col.dare {}, levels)
at_levels("seeded dare", "seeded dare", col.dare {}, levels, values, "seed")
at_levels("top-k", "top-k", col.dare { strategy = "magnitude", rescale = "none" }, levels)
at_levels("top-k signs", "top-k signs", col.dare { strategy = "magnitude", rescale = "none" }, { 0.99, 0.995 }, "sign")

local function add(name, method, model, as)
  rivals[#rivals + 1], how[name] = { name = name, model = model, point = { method = method } }, { values = as }
end
add("empty patch", "empty patch", tuned:dare { drop_rate = 1 })
add("signs", "signs", tuned, "sign")
for _, rank in ipairs { 1, 2, 4, 8, 16 } do
  add("svd " .. rank, "svd", tuned:truncate { on = "effective", rank = rank })
end
for _, rate in ipairs { 0.5, 0.8, 0.9, 0.95, 0.98, 0.99 } do
  add("dare " .. rate, "dare", tuned:dare { drop_rate = rate })
end
add("lora 1", "lora", training.lora(1))

-- A cascade that looks where it goes, with a stage that no model survives; beside it the same without looking.
local function guarded(name, mode)
  return cascade.guarded {
    name = name, base = tuned, mode = mode, point = { method = name },
    stages = {
      { "dare", col.dare {}, parameter = "drop_rate", schedule = { 0.8, 0.9, 0.95, 0.98 }, tries = 2 },
      { "ruin", col.truncate { on = "effective", of = "weights", rank = 1, sites = mended_sites } },
      { "alphaedit", stages[3][2] },
    },
    retention = watch.retention, compression = watch.compression,
  }
end
local careful, careful_told = guarded("guarded", "act")
local careless, careless_told = guarded("unguarded", "log")
local told = { guarded = careful_told, unguarded = careless_told }

for _, each in ipairs(orderings) do each.point.method = "orderings" end
for _, each in ipairs(ablation) do each.point.method = "ablation" end

local function profile(trace)
  local names, list = { "tuned" }, { kept_of(rounded(tuned)).share }
  for _, step in ipairs(trace.steps) do
    names[#names + 1], list[#list + 1] = step.name, kept_of(rounded(step.model)).share
  end
  return col.stepwise { names = names, values = list }
end

local function metrics(model, arm)
  local as = how[arm.name] or {}
  local measured = rounded(model, as.values)
  local kept, size = kept_of(measured), size_of(model, as.values, as.positions)
  local result = {
    retention = kept.share, of_tuned = kept.of_tuned, top1 = top1(measured),
    drift = found(measured):drift { before = found(base) },
    bytes = size.difference, compression = size.difference_compression,
    nominal_compression = size.nominal_difference_compression,
  }
  local trace = traces[arm.name]
  if trace and trace.steps then
    result.profile = profile(trace)
    for _, step in ipairs(trace.steps) do
      if step.name == "dare" then result.dropped = step.model.sparsity end
    end
  end
  result.guards = (told[arm.name] or trace or {}).note
  return result
end

local describe = require "describe"
return col.study {
  name = "rcc",
  question = describe.question,
  seeds = col.setting "seeds",
  arms = arms.join({ { name = "tuned", model = tuned, point = { method = "tuned" } }, careful, careless }, rivals, orderings,
    ablation),
  metrics = metrics,
  shared = {
    base_top1 = top1(base), tuned_top1 = top1(tuned), base_found = found(base), tuned_found = found(tuned),
    gain = kept_of(tuned).gain,
  },
  figures = describe.figures(orderings, rivals, levels),
  report = describe.report(orderings, counts),
}
