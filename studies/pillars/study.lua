-- The three pillars, asked thoroughly: ordering, learned masks and light tuning on a Mamba that is adapted from one domain of a
-- text to another; the full factorial of the three with their controls, every arm on the same number of tokens.

local col = require "colonnade"
local arms = require "colonnade.arms"
local factorial = require "colonnade.factorial"
local grid = require "colonnade.grid"

local path = col.setting "text.path"
local first = col.text { path = path, domain = 1 }
local second = col.text { path = path, domain = 2 }

-- The second domain's length decides how many steps an epoch has; `train.epoch_steps` says so for the default text.
local length, batch = col.setting "train.length", col.setting "train.batch"
local arm_steps = math.max(2, math.floor(col.setting "epochs" * col.setting "train.epoch_steps"))
local base_steps = math.max(1, math.floor(col.setting "train.base_epochs" * col.setting "train.base_epoch_steps"))
local probe_steps = math.max(1, arm_steps // 10)
local half = arm_steps // 2

local matrices = "kind:linear,kind:conv1d"
local full_rate, light_rate = col.setting "train.full_rate", col.setting "train.light_rate"

local function train(model, data, steps, learning_rate, label)
  return model:train {
    data = data.train, valid = data.valid, steps = steps, batch = batch, length = length, learning_rate = learning_rate,
    warmup = math.max(1, steps // 10), weight_decay = 0.1, beta2 = 0.95, clip = 1.0,
    evaluate_every = math.max(1, steps // 8), evaluate_windows = 32, log_every = math.max(1, steps // 40), label = label,
  }
end

local function fresh_base(d_model, layers)
  local fresh = col.mamba { d_model = d_model, layers = layers, seed = 0 }
  return train(fresh, first, base_steps, col.setting "train.base_rate", "base " .. d_model .. "x" .. layers)
end

local d_model, layers = col.setting "model.d_model", col.setting "model.layers"
local base = fresh_base(d_model, layers)

-- What stages leave behind for the report, by the point of their arm.
local notes = {}
local function note(point, name, value)
  notes[point] = notes[point] or {}
  notes[point][name] = value
end

local function ordered_by(order)
  return function(model, point)
    local ordered = model:scan { data = first.train, order = order }
    note(point, "orders", ordered.report)
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
    local hardened = train(attached, second, half, full_rate, "masks"):harden { data = second.valid }
    note(point, "masks", hardened.report)
    return hardened
  end
end

local function importance_of(model)
  return train(model:mask { sites = matrices }, second, probe_steps, full_rate, "probe"):importance {}
end

-- options: policy, threshold, ratio, rank, order, sites. Sites are scored by a probe mask whose tokens count.
local function tuned_with(options)
  return function(model, point)
    local steps = (point.mask and arm_steps - half or arm_steps) - probe_steps
    local plan = model:peft {
      importance = importance_of(model), sites = matrices, policy = options.policy or "three-way",
      importance_threshold = options.threshold or 0.5, peft_application_ratio = options.ratio or 0.3,
      order = options.order or "importance", strong_sites = options.strong_sites,
      strong = col.lora { rank = options.rank or 16 }, light = col.ia3 {},
    }
    local tuned = train(plan, second, steps, light_rate, "adapters")
    note(point, "curve", tuned.curve)
    note(point, "allocation", plan.allocation)
    note(point, "trainable", plan.trainable_percent)
    note(point, "contribution",
      tuned:contribution({ data = second.valid, metric = col.perplexity { max_tokens = 16384 }, field = "nats" }).contribution)
    return tuned:merge {}
  end
end

local function full_tuning(model, point)
  if point.peft then return model end
  local tuned = train(model, second, point.mask and arm_steps - half or arm_steps, full_rate, "full tuning")
  note(point, "curve", tuned.curve)
  return tuned
end

-- One arm by hand: stages in their order, then full tuning unless a stage trained already. Its point says "on" where the factorial
-- says true: these arms are no cells of it.
local function arm(name, model, point, stages)
  for _, stage in ipairs(stages) do model = stage(model, point) end
  return { name = name, model = full_tuning(model, point), point = point }
end

local main_arms = factorial.arms {
  base = base,
  stages = { { "scan", ordered_by "correlation" }, { "mask", masked_with {} }, { "peft", tuned_with {} } },
  finish = full_tuning,
}

local controls = {
  { name = "frozen", model = base, point = { control = "frozen" } },
  arm("scan identity", base, { control = "scan", order = "identity" }, { ordered_by "identity" }),
  arm("scan random", base, { control = "scan", order = "random" }, { ordered_by "random" }),
  -- An order by the masks themselves needs masks that are final.
  arm("mask then mask order", base, { control = "scan", order = "mask", mask = "on" }, { masked_with {}, ordered_by "mask" }),
  arm("scan and block mask", base, { control = "scan", mask = "on", granularity = "block" },
    { ordered_by "correlation", masked_with { granularity = "block" } }),
  arm("random order and block mask", base, { control = "scan", mask = "on", granularity = "block", order = "random" },
    { ordered_by "random", masked_with { granularity = "block" } }),
  arm("mask all sites", base, { control = "mask", mask = "on" }, { masked_with { sites = matrices } }),
  arm("uniform LoRA", base, { control = "peft", peft = "on", policy = "uniform-strong" }, { tuned_with { policy = "uniform-strong" } }),
  arm("uniform IA3", base, { control = "peft", peft = "on", policy = "uniform-light" }, { tuned_with { policy = "uniform-light" } }),
  arm("LoRA on SSM only", base, { control = "peft", peft = "on", policy = "strong-only-on" },
    { tuned_with { policy = "strong-only-on", strong_sites = "*.x_proj,*.dt_proj" } }),
  arm("random allocation", base, { control = "peft", peft = "on", order = "random" }, { tuned_with { order = "random" } }),
  -- Pruning's true rival: a dense model that is smaller from the start.
  arm("small dense", fresh_base(col.setting "model.small_d_model", layers), { control = "size" }, {}),
}

-- One factor at a time around the middle of the ranges, on all three pillars.
local grid_arms = {}
if col.setting "grid" then
  local function all_with(what, value, mask_options, peft_options)
    local point = { mask = "on", peft = "on", scan = "on", factor = what, level = tostring(value) }
    return arm(string.format("%s = %s", what, value), base, point,
      { ordered_by "correlation", masked_with(mask_options), tuned_with(peft_options) })
  end
  for _, rank in ipairs { 4, 8 } do grid_arms[#grid_arms + 1] = all_with("rank", rank, {}, { rank = rank }) end
  for _, tau in ipairs { 0.3, 0.8 } do grid_arms[#grid_arms + 1] = all_with("temperature", tau, { temperature = tau }, {}) end
  for _, share in ipairs { 0.3, 0.7 } do grid_arms[#grid_arms + 1] = all_with("importance_threshold", share, {}, { threshold = share }) end
  for _, ratio in ipairs { 0.2, 0.4, 0.6 } do grid_arms[#grid_arms + 1] = all_with("peft_application_ratio", ratio, {}, { ratio = ratio }) end
  for _, sparsity in ipairs { 0.3, 0.7 } do grid_arms[#grid_arms + 1] = all_with("target_sparsity", sparsity, { sparsity = sparsity }, {}) end
end

local all_arms = arms.join(main_arms, controls, grid_arms)
local points = {}
for _, each in ipairs(all_arms) do points[each.name] = each.point end

local function metrics(model, each)
  local about = notes[points[each.name]] or {}
  local quality = model:perplexity { data = second.test, length = length }
  local cost, size = model:flops { length = length }, model:size {}
  return {
    perplexity = quality.perplexity, nats = quality.nats, accuracy = quality.accuracy,
    perplexity_first = model:perplexity({ data = first.test, length = length }).perplexity,
    flops_executed = cost.executed, flops_nominal = cost.nominal, masked_share = cost.masked_share,
    parameters = size.parameters, nonzero = size.nonzero, site_sparsity = size.site_sparsity, model_sparsity = size.model_sparsity,
    log_efficiency = col.efficiency({ accuracy = quality.accuracy, flops = cost.executed, parameters = size.nonzero }).log_efficiency,
    latency = model:latency({ data = second.test, length = length }).median,
    memory = model:latency({ data = second.test, length = length }).peak_memory,
    curve = about.curve, orders = about.orders, masks = about.masks, allocation = about.allocation,
    trainable_percent = about.trainable, contribution = about.contribution,
  }
end

local function ngram(data, order) return col.ngram({ data = first.train, on = data, order = order }).perplexity end

return col.study {
  name = col.setting "project",
  question = "Does combining variable-aware ordering, learned masks and hybrid light tuning gain more on accuracy, FLOPs and "
    .. "parameters than the three gain alone? A base is trained on one domain of a text; every arm gets the same number of "
    .. "tokens of another. Ordering is an exact symmetry and can gain only through its partners; its controls (identity, random "
    .. "and mask-aware orders) show what ordering by correlation itself buys.",
  seeds = col.setting "seeds",
  arms = all_arms,
  metrics = metrics,
  shared = {
    unigram = ngram(second.test, 1), unigram_first = ngram(first.test, 1),
    trigram = ngram(second.test, 3), trigram_first = ngram(first.test, 3),
    start = base:perplexity({ data = second.test, length = length }).perplexity,
    start_first = base:perplexity({ data = first.test, length = length }).perplexity,
  },
  figures = col.setting "figures" and {
    col.scatter { name = "flops-accuracy", title = "FLOPs against accuracy", x = "flops_nominal", y = "accuracy",
      x_label = "nominal FLOPs per token", y_label = "next-token accuracy" },
    col.scatter { name = "parameters-accuracy", title = "Parameters against accuracy", x = "nonzero", y = "accuracy",
      x_label = "non-zero parameters", y_label = "next-token accuracy" },
    col.heatmap { name = "layer-contributions", title = "What each site's adapter contributes", from = "contribution",
      x = "arm", y = "site", z = "change", z_label = "change of nats without it" },
    col.line { name = "training-curves", title = "Training", from = "curve", x = "step", y = { "ce" },
      arms = { "base", "+scan", "+mask", "+peft", "all" }, y_label = "cross entropy (nats)" },
    col.scatter { name = "latency-accuracy", title = "Measured latency against accuracy", x = "latency", y = "accuracy" },
  } or {},
  report = {
    col.compare { metric = { "nats", "log_efficiency" }, baseline = "base" },
    col.effects { metric = { "nats", "log_efficiency" }, factors = { "scan", "mask", "peft" } },
    col.target { name = "90 % fewer FLOPs", metric = "flops_nominal", value = 0.90, better = "higher", as = "reduction", baseline = "base",
      note = "nominal; masks save at most masked_share, and dense kernels execute all" },
    col.target { name = "75 % fewer FLOPs by masks", metric = "flops_nominal", value = 0.75, better = "higher", as = "reduction",
      baseline = "base", arm = "mask all sites", note = "nominal; with the default sites masks touch only masked_share of the work" },
    col.target { name = "95 % fewer trainable parameters", metric = "trainable_percent", value = 5, better = "lower" },
    col.target { name = "60 % less memory", metric = "memory", value = 0.60, better = "higher", as = "reduction", baseline = "base",
      note = "of the process while it reads; a merged model is dense, its cap is 0" },
    col.target { name = "18.3 % less latency", metric = "latency", value = 0.183, better = "higher", as = "reduction", baseline = "base",
      note = "dense kernels: an order or a mask alone saves nothing" },
    col.section { title = "Orders found", text = "Path costs fall; loss and FLOPs cannot by ordering alone.", table = { "orders" } },
    col.section { title = "Masks", text = "Sparsity of each site as evaluated and as trained, and what it does to the site's output.", table = { "masks" } },
    col.section { title = "Allocation", text = "Which sites were tuned, and how.", table = { "allocation" } },
    col.section { title = "Layer contributions", text = "Change of the validation loss with a site's adapter switched off.", table = { "contribution" } },
  },
}
