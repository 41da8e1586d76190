-- The three pillars on a small Mamba that reads English: does ordering, masking or light tuning pay, and do they pay together?
-- A base learns one domain (the Old Testament); every arm then gets the same number of tokens of another (the New).

local col = require "colonnade"
local ablation = require "colonnade.ablation"

local path = col.setting "text.path"
local first = col.text { path = path, domain = 1 }
local second = col.text { path = path, domain = 2 }

local length = col.setting "train.length"
local batch = col.setting "train.batch"
local base_steps = col.setting "train.base_steps"
local arm_steps = col.setting "train.arm_steps"
local probe_steps = col.setting "train.probe_steps"

local function train(model, data, steps, learning_rate, label)
  return model:train {
    data = data.train, valid = data.valid, steps = steps, batch = batch, length = length,
    learning_rate = learning_rate, warmup = math.max(1, steps // 10), weight_decay = 0.1, clip = 1.0,
    beta2 = 0.95, evaluate_every = math.max(1, steps // 4), evaluate_windows = 16, log_every = math.max(1, steps // 20),
    label = label,
  }
end

local fresh = col.mamba { d_model = col.setting "model.d_model", layers = col.setting "model.layers" }
local base = train(fresh, first, base_steps, 4e-3, "base")

local full_rate, light_rate = 1e-3, 4e-3
local curves, reports, ordered_base = {}, {}, nil

-- Trains on the second domain as the next phase of an arm; its curves are later joined.
local function adapt(point, model, steps, learning_rate, label)
  local tuned = train(model, second, steps, learning_rate, label)
  curves[point] = curves[point] or {}
  table.insert(curves[point], tuned.curve)
  return tuned
end

-- Ordering alone changes nothing of the function: what the arm shows beside the base is rounding.
local function scan(model)
  local ordered = model:scan { data = first.train, tokens = 8192 }
  reports.scan, ordered_base = ordered.report, ordered
  return ordered
end

-- Masks are trained with the weights they mask for half of the tokens, then made final; the other half is for what follows:
-- light tuning where that is in, else the weights that the masks left.
local half = arm_steps // 2
local function mask(model, point)
  local masked = adapt(point, model:mask { target_sparsity = 0.5 }, half, full_rate, "masks")
  return masked:harden { data = second.valid }
end

-- A mask over every matrix, trained briefly and thrown away, says which sites matter; its tokens count. The most important
-- sites get LoRA, the next IA3, everything else stays as it is.
local function peft(model, point)
  local steps = point.mask and arm_steps - half or arm_steps
  local probe = adapt(point, model:mask { sites = "kind:linear,kind:conv1d" }, probe_steps, full_rate, "probe")
  local plan = model:peft {
    importance = probe:importance {}, sites = "kind:linear,kind:conv1d",
    peft_application_ratio = 0.6, strong = col.lora { rank = 8 }, light = col.ia3 {},
  }
  local tuned = adapt(point, plan, steps - probe_steps, light_rate, "adapters")
  reports[point] = {
    allocation = plan.allocation, trainable = plan.trainable_percent,
    contribution = tuned:contribution { data = second.valid, metric = col.perplexity { max_tokens = 8192 }, field = "nats" },
  }
  return tuned:merge {}
end

local function finish(model, point)
  if point.peft then return model end
  return adapt(point, model, point.mask and arm_steps - half or arm_steps, full_rate, "full tuning")
end

local points = {}
local arms = ablation.arms { base = base, stages = { { "scan", scan }, { "mask", mask }, { "peft", peft } }, finish = finish }
for _, arm in ipairs(arms) do points[arm.name] = arm.point end

local full_curve = curves[points.base][1]
local unigram = col.ngram { data = first.train, on = second.test, order = 1 }

local reading = "A token is a byte: perplexity and `nats_per_byte` are a byte's, accuracy is the share of bytes that were the "
  .. "likeliest. All are of the second domain's test text, but names that end in `first_domain`, which are of the first's. "
  .. "`before_adapting` is the base model before any arm touched it. A step of training is " .. batch .. " windows of "
  .. length .. " bytes; its loss is that of its own batch, so it is noisy, and while masks are learned they "
  .. "are sampled. A probe trains a masked copy that is thrown away, so curves jump back after it.\n\n"
  .. "`log_efficiency` is ln(accuracy / (`flops_executed` · `nonzero`)): it mixes what dense kernels execute, zeros included, "
  .. "with parameters counted without zeros. `site_sparsity` is the share of masked zeros in the whole weights of masked "
  .. "sites: half of the elements of B, C and the convolution are masked, but `x_proj` also holds the step's rows, which no "
  .. "mask touches, so it stays below one half."

return col.study {
  name = "quickstart",
  question = "A small Mamba language model learns one domain of an English text and is adapted to another with the same "
    .. "number of tokens in every arm: by full tuning (base), after ordering its channels (+scan), with learned masks (+mask), "
    .. "with LoRA and IA3 where they matter most (+peft), and by all three (all). What does each cost and keep?",
  arms = arms,
  metrics = function(model, arm)
    local point = points[arm.name]
    local quality = model:perplexity { data = second.test, length = length }
    local cost, size = model:flops { length = length }, model:size {}
    local values = {
      perplexity = quality.perplexity, nats_per_byte = quality.nats, accuracy = quality.accuracy,
      perplexity_first_domain = model:perplexity({ data = first.test, length = length }).perplexity,
      flops_executed = cost.executed, flops_nominal = cost.nominal, masked_share = cost.masked_share,
      parameters = size.parameters, nonzero = size.nonzero, site_sparsity = size.site_sparsity,
      log_efficiency = col.efficiency({ accuracy = quality.accuracy, flops = cost.executed, parameters = size.nonzero }).log_efficiency,
      curve = col.convergence({ curves = curves[point], reference = full_curve }).curve,
    }
    if point.peft then
      values.allocation = reports[point].allocation
      values.trainable_percent = reports[point].trainable
      values.contribution = reports[point].contribution.contribution
    end
    return values
  end,
  shared = {
    before_adapting = base:perplexity({ data = second.test, length = length }).perplexity,
    before_adapting_first_domain = base:perplexity({ data = first.test, length = length }).perplexity,
    unigram = unigram.perplexity,
    unigram_first_domain = col.ngram({ data = first.train, on = first.test, order = 1 }).perplexity,
    trigram = col.ngram({ data = first.train, on = second.test, order = 3 }).perplexity,
    trigram_first_domain = col.ngram({ data = first.train, on = first.test, order = 3 }).perplexity,
    base_curve = base.curve, orders = reports.scan,
  },
  files = { ["scan_order.npy"] = ordered_base.order, ["scan_order_inv.npy"] = ordered_base.order_inverse },
  figures = {
    col.scatter { name = "flops-accuracy", title = "FLOPs against accuracy", x = "flops_nominal", y = "accuracy",
      x_label = "nominal FLOPs a byte", y_label = "accuracy (share of next bytes)" },
    col.scatter { name = "parameters-accuracy", title = "Parameters against accuracy", x = "nonzero", y = "accuracy",
      x_label = "non-zero parameters", y_label = "accuracy (share of next bytes)" },
    col.heatmap { name = "layer-contributions", title = "What each site's adapter contributes", from = "contribution",
      x = "arm", y = "site", z = "change", z_label = "change of nats a byte without it" },
    col.line { name = "training-curves", title = "Training on the second domain", from = "curve", x = "step", y = { "ce" },
      x_label = "step, through all of an arm's phases (probe, masks, tuning)",
      y_label = "training loss of a step's batch (nats a byte)" },
    col.line { name = "validation-curves", title = "Validation while training", from = "curve", x = "step",
      y = { "valid_nats" }, x_label = "step, through all of an arm's phases (probe, masks, tuning)",
      y_label = "validation loss (nats a byte)" },
  },
  report = {
    col.section { title = "How to read the numbers", text = reading },
    col.section { title = "Orders found", text = "Ordering is an exact symmetry: path costs fall, loss and FLOPs cannot.", table = { "orders" } },
    col.section { title = "Allocation", text = "Which sites were tuned, and how.", table = { "allocation" } },
    col.section { title = "Layer contributions", text = "Change of the validation loss with a site's adapter switched off.", table = { "contribution" } },
    col.target { name = "75 % fewer FLOPs by masks", metric = "flops_nominal", value = 0.75, better = "higher", as = "reduction",
      baseline = "base", arm = "+mask", note = "masks can save no more than masked_share" },
    col.target { name = "95 % fewer trainable parameters", metric = "trainable_percent", value = 5, better = "lower" },
  },
}
