-- What the study asks, and how its report answers.

local col = require "colonnade"

local describe = {}

describe.question = "Does combining variable-aware ordering, learned masks and hybrid light tuning gain more on accuracy, FLOPs "
  .. "and parameters than the three gain alone? A base is trained on one domain of a text; every arm gets the same number of "
  .. "tokens of another, a probe's tokens included. Ordering is an exact symmetry and can gain only through its partners; its "
  .. "controls (identity, random and mask-aware orders) show what ordering by correlation itself buys."

local factorial_arms = { "base", "+scan", "+mask", "+scan+mask", "+peft", "+scan+peft", "+mask+peft", "all" }
local corners = { "base", "+scan", "+mask", "+peft", "all" }
local tuned_arms = {
  "+peft", "+scan+peft", "+mask+peft", "all", "uniform LoRA", "uniform IA3", "LoRA on SSM only", "random allocation",
}
local sized_arms = { "mask all sites", "dense as +mask", "dense as mask all" }

local function joined(...)
  local list = {}
  for i = 1, select("#", ...) do
    for _, name in ipairs(select(i, ...)) do list[#list + 1] = name end
  end
  return list
end

-- factor_arms: by factor, the arms in which it varies alone.
function describe.figures(factor_arms)
  local frontier = joined(factorial_arms, sized_arms)
  local figures = {
    col.scatter { name = "flops-accuracy", title = "FLOPs against accuracy", x = "flops_nominal", y = "accuracy",
      arms = frontier, x_label = "nominal FLOPs per token", y_label = "next-token accuracy" },
    col.scatter { name = "parameters-accuracy", title = "Parameters against accuracy", x = "nonzero", y = "accuracy",
      arms = frontier, x_label = "non-zero parameters", y_label = "next-token accuracy" },
    col.scatter { name = "allocation", title = "What allocations of adapters buy", x = "trainable_percent", y = "nats",
      arms = joined({ "base" }, tuned_arms), x_label = "trainable parameters (%)", y_label = "nats a token" },
    col.heatmap { name = "layer-contributions", title = "What each site's adapter contributes", from = "contribution",
      arms = tuned_arms, x = "arm", y = "site", z = "change", z_label = "change of nats without it" },
    col.line { name = "training-curves", title = "Training on the second domain", from = "curve", x = "step", y = { "ce" },
      arms = corners, x_label = "step, through all phases", y_label = "cross entropy (nats)" },
    col.line { name = "validation-curves", title = "Convergence", from = "curve", x = "step", y = { "valid_nats" },
      arms = corners, x_label = "step, through all phases", y_label = "validation loss (nats)" },
    col.scatter { name = "latency-accuracy", title = "Measured latency against accuracy", x = "latency", y = "accuracy",
      arms = frontier, x_label = "milliseconds a pass", y_label = "next-token accuracy" },
  }
  for factor, varied in pairs(factor_arms) do
    figures[#figures + 1] = col.scatter { name = "impact-" .. factor, title = "Impact of " .. factor, x = factor, y = "nats",
      arms = varied, group = "", y_label = "nats a token" }
  end
  return figures
end

local function reduction(name, metric, value, arm, note, cap)
  return col.target { name = name, metric = metric, value = value, better = "higher", as = "reduction", baseline = "base",
    arm = arm, note = note, cap = cap }
end

local dense_kernels = "dense kernels execute zeros too, and merged adapters leave nothing behind"
local resolution = "no value: it never came there within its tokens; known to a sixteenth of a phase"

local function times_faster(name, metric, arm, note)
  return col.target { name = name .. ", " .. arm, metric = metric, value = 1 / 1.5, better = "lower", as = "ratio",
    baseline = "base", arm = arm, note = note }
end

local function fewer_trainable(arm)
  return col.target { name = "95 % fewer trainable parameters, " .. arm, metric = "trainable_percent", value = 5,
    better = "lower", arm = arm }
end

-- Whether an arm's loss is at most its rival's.
local function no_worse(name, arm, rival)
  return col.target { name = name, metric = "nats", value = 1, better = "lower", as = "ratio", baseline = rival, arm = arm,
    note = "a ratio of two means; whether it could be chance is for seeds to say" }
end

-- How much of the work masks reach at all.
local function reach(name, value, arm)
  return col.target { name = name, metric = "masked_share", value = value, better = "higher", arm = arm,
    note = "the cap: share of the work at masked sites, all that masks could save" }
end

describe.report = {
  col.compare { metric = { "nats", "log_efficiency" }, baseline = "base" },
  col.effects { metric = { "nats", "log_efficiency" }, factors = { "scan", "mask", "peft" } },
  reduction("90 % fewer FLOPs", "flops_nominal", 0.90, "all", "nominal"),
  reach("90 % fewer FLOPs, at best", 90, "all"),
  reduction("75 % fewer FLOPs by masks", "flops_nominal", 0.75, "+mask", "nominal"),
  reach("75 % fewer FLOPs by masks, at best", 75, "+mask"),
  reduction("75 % fewer FLOPs by masks on all sites", "flops_nominal", 0.75, "mask all sites", "nominal"),
  reach("75 % fewer FLOPs by masks on all sites, at best", 75, "mask all sites"),
  fewer_trainable("+peft"),
  fewer_trainable("all"),
  reduction("60 to 80 % less memory to train", "training_memory", 0.60, "all",
    "of the whole process, libraries included; its last phase"),
  reduction("60 to 80 % less memory to run", "memory", 0.60, "all", dense_kernels, 0),
  times_faster("1.5 to 2 times fewer steps to full tuning's loss", "convergence_steps", "+peft", resolution),
  times_faster("1.5 to 2 times fewer steps to full tuning's loss", "convergence_steps", "all", resolution),
  times_faster("1.5 to 2 times less time to full tuning's loss", "convergence_seconds", "+peft", resolution),
  times_faster("1.5 to 2 times less time to full tuning's loss", "convergence_seconds", "all", resolution),
  reduction("18.3 % less latency", "latency", 0.183, "all", dense_kernels, 0),
  no_worse("importance against random allocation", "+peft", "random allocation"),
  no_worse("hybrid against uniform LoRA", "+peft", "uniform LoRA"),
  no_worse("hybrid against uniform IA3", "+peft", "uniform IA3"),
  no_worse("hybrid against LoRA on SSM only", "+peft", "LoRA on SSM only"),
  no_worse("order by correlation against none, under block masks", "scan then block mask", "block mask"),
  no_worse("order by correlation against a random one, under block masks", "scan then block mask", "random then block mask"),
  no_worse("masks against a dense model of as many FLOPs", "+mask", "dense as +mask"),
  no_worse("masks on all sites against a dense model of as many FLOPs", "mask all sites", "dense as mask all"),
  col.section { title = "Efficiency beside a unigram model's",
    text = "log_efficiency is ln(accuracy / (executed FLOPs a token · non-zero parameters)). It grows without bound as models "
      .. "become empty: unigram_log_efficiency, beside the arms, is that of a table of byte frequencies.",
    table = { "log_efficiency", "accuracy", "flops_executed", "nonzero" } },
  col.section { title = "Convergence",
    text = "Steps, and seconds at each phase's measured rate, until the validation loss first comes down to full tuning's best "
      .. "plus 1 %. Probes and mask trainings count. Not finite: it never came there within its tokens. A mean is over the seeds "
      .. "that did, convergence_reached says how many of them.",
    table = { "convergence_steps", "convergence_reached", "convergence_seconds", "seconds_per_step", "training_memory" } },
  col.section { title = "Orders found", text = "Path costs fall; loss and FLOPs cannot by ordering alone.", table = { "orders" } },
  col.section { title = "Masks",
    text = "mask_sparsity is what evaluation drops of the masked elements, soft_sparsity what training expected; mask_gap is "
      .. "the loss as evaluated less the loss as trained. By site: sparsities, and what masks do to the site's output.",
    table = { "mask_sparsity", "soft_sparsity", "mask_gap", "masks" } },
  col.section { title = "Allocation",
    text = "Which sites were tuned, and how. One table numbers the allocations (under the first seed): arms with one number have "
      .. "the same; distinct_allocations, beside the arms, counts them.",
    table = { "allocations", "trainable_percent", "allocation" } },
  col.section { title = "Layer contributions", text = "Change of the validation loss with a site's adapter switched off.",
    table = { "contribution" } },
}

return describe
