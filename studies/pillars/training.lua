-- How models of this study are trained, and what that costs.

local col = require "colonnade"

local training = {}

local length, batch = col.setting "train.length", col.setting "train.batch"
local rates = {
  base = col.setting "train.base_rate", full = col.setting "train.full_rate", light = col.setting "train.light_rate",
}

local evaluations = 16      -- in a training; convergence is known as finely as that
local timed_steps = 4

local function whole_steps(epochs, epoch_steps, least) return math.max(least, math.floor(epochs * epoch_steps)) end

-- The parameters of `train`, but for its data. Options: rate ("base", "full" or "light"), label, unseen (not evaluated).
local function options_of(steps, options)
  return {
    steps = steps, batch = batch, length = length, learning_rate = rates[options.rate],
    warmup = math.max(1, steps // 10), weight_decay = 0.1, beta2 = 0.95, clip = 1.0,
    log_every = math.max(1, steps // 40),
  }
end

local function run(model, data, steps, options)
  local given = options_of(steps, options)
  given.data, given.label = data.train, options.label
  if not options.unseen then
    given.valid, given.evaluate_every, given.evaluate_windows = data.valid, math.max(1, steps // evaluations), 32
  end
  return model:train(given)
end

-- texts: { first = what bases learn, second = what they are adapted to }
function training.of(texts)
  local train = {}
  -- How many steps an epoch has depends on the length of a text's training split; settings say so for the default text.
  train.arm_steps = whole_steps(col.setting "epochs", col.setting "train.epoch_steps", 4)
  train.probe_steps = math.max(1, train.arm_steps // 10)
  local base_steps = whole_steps(col.setting "train.base_epochs", col.setting "train.base_epoch_steps", 1)

  -- A model of this width that has learned the first domain.
  function train.base(d_model)
    local layers = col.setting "model.layers"
    local fresh = col.mamba { d_model = d_model, layers = layers, seed = 0 }
    return run(fresh, texts.first, base_steps, { rate = "base", label = string.format("base %dx%d", d_model, layers) })
  end

  -- Trains on the second domain.
  function train.adapt(model, steps, options) return run(model, texts.second, steps, options) end

  -- What a step of that takes, measured alone.
  function train.cost(model, options)
    return model:training_cost {
      data = texts.second.train, training = col.train(options_of(timed_steps, options)), steps = timed_steps,
    }
  end

  function train.log_efficiency(accuracy, flops, parameters)
    return col.efficiency({ accuracy = accuracy, flops = flops, parameters = parameters }).log_efficiency
  end

  return train
end

return training
