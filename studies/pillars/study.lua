-- The three pillars, asked thoroughly: ordering, learned masks and light tuning on a Mamba that is adapted from one domain of a
-- text to another; the full factorial of the three with their controls, every arm on the same number of tokens.

local col = require "colonnade"
local arms = require "colonnade.arms"
local factorial = require "colonnade.factorial"
local training = require "training"

local path = col.setting "text.path"
local first, second = col.text { path = path, domain = 1 }, col.text { path = path, domain = 2 }
local length = col.setting "train.length"
local d_model = col.setting "model.d_model"
local matrices = "kind:linear,kind:conv1d"

local train = training.of { first = first, second = second }
local base = train.base(d_model)
local arm_steps, half, probe_steps = train.arm_steps, train.arm_steps // 2, train.probe_steps

-- What stages leave behind for the report, by the table that an arm's stages share.
local notes = {}
local function note(point, name, value)
  notes[point] = notes[point] or {}
  notes[point][name] = value
end

-- Trains `model` on the second domain as the next phase of an arm, and remembers what it takes.
local function phase(point, model, steps, options)
  local tuned = train.adapt(model, steps, options)
  local known = notes[point] and notes[point].phases or { curves = {}, costs = {} }
  known.curves[#known.curves + 1] = tuned.curve
  known.costs[#known.costs + 1] = train.cost(model, options)
  note(point, "phases", known)
  note(point, "trainable", tuned.trainable_percent)
  return tuned
end

-- What an arm has left of the tokens that every arm gets.
local function steps_left(point) return arm_steps - (point.spent or 0) end
local function spend(point, steps) point.spent = (point.spent or 0) + steps end

local function ordered_by(order)
  return function(model, point)
    local ordered = model:scan { data = first.train, order = order }
    note(point, "orders", ordered.report)
    note(point, "ordered", ordered)
    return ordered
  end
end

-- Masks are trained with the weights they mask for half of the tokens, then made final; the other half is for what follows.
-- Options: sites, sparsity, temperature, granularity.
local function masked_with(options)
  return function(model, point)
    local attached = model:mask {
      sites = options.sites, target_sparsity = options.sparsity or 0.5, temperature = options.temperature or 0.5,
      granularity = options.granularity or "element",
    }
    local hardened = phase(point, attached, half, { rate = "full", label = "masks" }):harden { data = second.valid }
    spend(point, half)
    note(point, "hardened", hardened)
    return hardened
  end
end

-- A mask over every matrix, trained briefly and thrown away, says which sites matter; its tokens count.
local function importance_of(model, point)
  local probe = phase(point, model:mask { sites = matrices }, probe_steps, { rate = "full", label = "probe", unseen = true })
  spend(point, probe_steps)
  return probe:importance {}
end

-- Options: policy, threshold, ratio, rank, order, strong_sites. Only what ranks by importance pays for a probe.
local function tuned_with(options)
  return function(model, point)
    local ranked = options.policy == nil and options.order == nil
    local plan = model:peft {
      importance = ranked and importance_of(model, point) or nil, sites = matrices, policy = options.policy or "three-way",
      importance_threshold = options.threshold or 0.5, peft_application_ratio = options.ratio or 0.3,
      order = options.order or "importance", strong_sites = options.strong_sites,
      strong = col.lora { rank = options.rank or 16 }, light = col.ia3 {},
    }
    local tuned = phase(point, plan, steps_left(point), { rate = "light", label = "adapters" })
    point.tuned = true
    note(point, "allocation", plan.allocation)
    note(point, "contribution",
      tuned:contribution({ data = second.valid, metric = col.perplexity { max_tokens = 16384 }, field = "nats" }).contribution)
    return tuned:merge {}
  end
end

local function full_tuning(model, point)
  if point.tuned then return model end
  return phase(point, model, steps_left(point), { rate = "full", label = "full tuning" })
end

-- Notes by the arm's name; what stages say to each other stays out of the point that the report shows.
local by_arm = {}
local function arm(name, model, stages, point)
  local state = {}
  for _, stage in ipairs(stages) do model = stage(model, state) end
  by_arm[name] = state
  return { name = name, model = model, point = point }
end

local main_arms = factorial.arms {
  base = base,
  stages = { { "scan", ordered_by "correlation" }, { "mask", masked_with {} }, { "peft", tuned_with {} } },
  finish = full_tuning,
}
for _, each in ipairs(main_arms) do
  by_arm[each.name] = each.point
  each.point = { scan = each.point.scan, mask = each.point.mask, peft = each.point.peft }
end

local function dense(name, width) return arm(name, train.base(width), { full_tuning }) end

local controls = {
  arm("frozen", base, {}),
  arm("scan identity", base, { ordered_by "identity", full_tuning }),
  arm("scan random", base, { ordered_by "random", full_tuning }),
  -- An order by the masks themselves needs masks that are final.
  arm("mask then mask order", base, { masked_with {}, ordered_by "mask", full_tuning }),
  arm("block mask", base, { masked_with { granularity = "block" }, full_tuning }),
  arm("scan then block mask", base, { ordered_by "correlation", masked_with { granularity = "block" }, full_tuning }),
  arm("random then block mask", base, { ordered_by "random", masked_with { granularity = "block" }, full_tuning }),
  arm("mask all sites", base, { masked_with { sites = matrices }, full_tuning }),
  arm("uniform LoRA", base, { tuned_with { policy = "uniform-strong" } }),
  arm("uniform IA3", base, { tuned_with { policy = "uniform-light" } }),
  arm("LoRA on SSM only", base, { tuned_with { policy = "strong-only-on", strong_sites = "*.x_proj,*.dt_proj" } }),
  arm("random allocation", base, { tuned_with { order = "random" } }),
  -- Pruning's true rivals: dense models of as many FLOPs, smaller from the start.
  dense("dense as +mask", col.setting "model.d_as_mask"),
  dense("dense as mask all", col.setting "model.d_as_mask_all"),
}

-- One factor at a time around the middle of the ranges, on all three pillars.
local middle = { rank = 16, temperature = 0.5, importance_threshold = 0.5, peft_application_ratio = 0.3, target_sparsity = 0.5 }
local levels = {
  { "rank", { 4, 8 } }, { "temperature", { 0.3, 0.8 } }, { "importance_threshold", { 0.3, 0.7 } },
  { "peft_application_ratio", { 0.2, 0.4, 0.6 } }, { "target_sparsity", { 0.3, 0.7 } },
}
local grid_arms, factor_arms = {}, {}
if col.setting "grid_search" then
  local all = main_arms[#main_arms]
  for name, value in pairs(middle) do all.point[name] = value end
  for _, factor in ipairs(levels) do
    local name = factor[1]
    factor_arms[name] = { all.name }
    for _, value in ipairs(factor[2]) do
      local point = {}
      for other, usual in pairs(middle) do point[other] = usual end
      point[name] = value
      local called = string.format("%s = %s", name, value)
      factor_arms[name][#factor_arms[name] + 1] = called
      grid_arms[#grid_arms + 1] = arm(called, base, {
        ordered_by "correlation", masked_with { sparsity = point.target_sparsity, temperature = point.temperature },
        tuned_with { rank = point.rank, threshold = point.importance_threshold, ratio = point.peft_application_ratio },
      }, point)
    end
  end
end

local all_arms = arms.join(main_arms, controls, grid_arms)
local allocations, allocated = {}, {}
for _, each in ipairs(all_arms) do
  local about = notes[by_arm[each.name]]
  if about and about.allocation then
    allocations[#allocations + 1], allocated[#allocated + 1] = about.allocation, each.name
  end
end
local counted = col.allocations { of = allocations, names = allocated }

-- What training the arm took, beside full tuning.
local full_curve = notes[by_arm.base].phases.curves[1]
local function training_metrics(phases)
  if phases == nil then return {} end
  local reached = col.convergence { curves = phases.curves, reference = full_curve }
  local rates = {}
  for i, cost in ipairs(phases.costs) do rates[i] = cost.seconds_per_step end
  local last = phases.costs[#phases.costs]
  return {
    curve = reached.curve, convergence_steps = reached.steps, convergence_reached = reached.reached,
    convergence_seconds =
      col.convergence_time({ curves = phases.curves, reference = full_curve, seconds_per_step = rates }).seconds,
    seconds_per_step = last.seconds_per_step, training_memory = last.peak_memory,
  }
end

local function metrics(model, each)
  local about = notes[by_arm[each.name]] or {}
  local quality = model:perplexity { data = second.test, length = length }
  local cost, size = model:flops { length = length }, model:size {}
  local speed = model:latency { data = second.test, length = length, batch = 4, repeats = 30 }
  local values = training_metrics(about.phases)
  values.perplexity, values.nats, values.accuracy = quality.perplexity, quality.nats, quality.accuracy
  values.perplexity_first = model:perplexity({ data = first.test, length = length }).perplexity
  values.flops_executed, values.flops_nominal, values.masked_share = cost.executed, cost.nominal, cost.masked_share
  values.parameters, values.nonzero = size.parameters, size.nonzero
  values.site_sparsity, values.model_sparsity = size.site_sparsity, size.model_sparsity
  values.log_efficiency = train.log_efficiency(quality.accuracy, cost.executed, size.nonzero)
  values.latency, values.latency_p95, values.memory = speed.median, speed.p95, speed.peak_memory
  values.trainable_percent = about.trainable
  values.orders, values.allocation, values.contribution = about.orders, about.allocation, about.contribution
  if about.hardened then
    values.masks, values.mask_gap = about.hardened.report, about.hardened.gap
    values.mask_sparsity, values.soft_sparsity = about.hardened.sparsity, about.hardened.soft_sparsity
  end
  return values
end

-- The orders themselves, for other programs.
local function files(_, each)
  local about = notes[by_arm[each.name]] or {}
  if about.ordered == nil then return {} end
  return { ["scan_order.npy"] = about.ordered.order, ["scan_order_inv.npy"] = about.ordered.order_inverse }
end

local function ngram(data, order) return col.ngram { data = first.train, on = data, order = order } end
local unigram = ngram(second.test, 1)

local describe = require "describe"
return col.study {
  name = col.setting "project",
  question = describe.question,
  seeds = col.setting "seeds",
  arms = all_arms,
  metrics = metrics,
  files = files,
  shared = {
    unigram = unigram.perplexity, unigram_first = ngram(first.test, 1).perplexity,
    trigram = ngram(second.test, 3).perplexity, trigram_first = ngram(first.test, 3).perplexity,
    start = base:perplexity({ data = second.test, length = length }).perplexity,
    start_first = base:perplexity({ data = first.test, length = length }).perplexity,
    unigram_log_efficiency = train.log_efficiency(unigram.accuracy, unigram.flops, unigram.parameters),
    allocations = counted.by_arm, distinct_allocations = counted.distinct,
  },
  figures = describe.figures(factor_arms),
  report = describe.report,
}
