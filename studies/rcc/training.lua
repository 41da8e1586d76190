-- The models of this study: a base that learned emoji, the same tuned to digits, and its rival of rank 1.

local col = require "colonnade"

local training = {}

local length, vocabulary = 24, 1000
local templates = { "the number {}.", "a picture of the digit {}." }

local emoji = col.emoji { font = col.setting "emoji.font_file", names = col.setting "emoji.names_file" }
local digits = col.digits { path = col.setting "digits.file" }
local tokenizer = emoji.train:tokenizer { size = vocabulary }

local function captions(part) return part:pairs { tokenizer = tokenizer, length = length } end
local function classes(part) return part:classes { tokenizer = tokenizer, length = length, templates = templates } end

training.emoji = { train = captions(emoji.train), test = captions(emoji.test) }
training.digits = { train = classes(digits.train), valid = classes(digits.valid), test = classes(digits.test) }

local function train(model, data, steps, rate, options)
  local given = {
    data = data, steps = steps, batch = col.setting "train.batch", learning_rate = rate, warmup = math.max(1, steps // 10),
    clip = 1.0, beta2 = 0.98, log_every = math.max(1, steps // 20),
  }
  for name, value in pairs(options) do given[name] = value end
  return model:train(given)
end

local width, layers = col.setting "model.width", col.setting "model.layers"
local fresh = col.clip {
  vision_width = width, text_width = width, vision_layers = layers, text_layers = layers, dimensions = width,
  patch = col.setting "model.patch", vocabulary = vocabulary, length = length, seed = 0,
}

-- Every trial tunes the same base anew.
training.base = train(fresh, training.emoji.train, col.setting "train.base_steps", col.setting "train.base_rate",
  { weight_decay = 0.1, seed = 0, label = "base" })

local function tune(model, rate, label)
  return train(model, training.digits.train, col.setting "train.tune_steps", rate, { weight_decay = 0, label = label })
end

local tuned = tune(training.base, col.setting "train.tune_rate", "digits")
training.tuned = tuned:relative_to { base = training.base }

-- Rank 1 from the start, with as many steps; its difference is U V^T and nothing else.
function training.lora(rank)
  local start = training.base:relative_to { base = training.base }
  return tune(start:lora { rank = rank, alpha = 8, sites = "kind:linear" }, col.setting "train.lora_rate", "LoRA"):merge {}
end

return training
