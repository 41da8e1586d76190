-- What the study asks, and how its report answers.

local col = require "colonnade"

local describe = {}

describe.question = "A small CLIP that learned emoji and their names is tuned to handwritten digits. Of what tuning changed, how "
  .. "little can be stored and how much of the gain is kept? Three stages in every order (dropping and rescaling, truncating, "
  .. "compensating), each order at levels of equal bytes, beside rivals of as many: the empty patch, a LoRA of rank 1 trained "
  .. "directly, truncated singular values, the largest elements, signs with a scale, dropping with a seed in place of "
  .. "positions. Primary endpoint: retention at a level of 0.99, the best order against LoRA of rank 1."

local aim = 0.99  -- the level of the primary endpoint
local bytes, kept = "bytes of the stored difference", "retention: share of the gain that is kept"

local function names(list, keep)
  local found = {}
  for _, each in ipairs(list) do
    if keep == nil or keep(each) then found[#found + 1] = each.name end
  end
  return found
end

local function joined(a, b)
  local list = {}
  for _, part in ipairs { a, b } do
    for _, name in ipairs(part) do list[#list + 1] = name end
  end
  return list
end

function describe.figures(orderings, rivals, levels)
  local stored = names(rivals, function(each) return each.point.method ~= "empty patch" end)
  local figures = {
    col.line { name = "rivals", title = "What is kept for how many bytes", x = "bytes", y = { "retention" }, group = "method",
      arms = names(rivals), log = "x", x_label = bytes, y_label = kept },
    col.line { name = "orders", title = "Six orders at equal bytes", x = "bytes", y = { "retention" }, group = "order",
      arms = names(orderings), log = "x", x_label = bytes, y_label = kept },
    col.pareto { name = "frontier", title = "Orders and rivals", x = "bytes", y = "retention", group = "method",
      x_better = "lower", y_better = "higher", log = "x", arms = joined(stored, names(orderings)), x_label = bytes,
      y_label = kept },
    col.scatter { name = "drift", title = "What the other task pays", x = "retention", y = "drift", group = "method",
      arms = joined(stored, names(orderings)), x_label = kept, y_label = "change of emoji found by name (points)" },
  }
  for _, level in ipairs(levels) do
    local text = string.format("%g", level)
    figures[#figures + 1] = col.line { name = "profile-" .. text:gsub("%.", "_"), title = "Retention after each stage, at " .. text,
      from = "profile", x = "step", y = { "value" }, arms = names(orderings, function(each) return each.point.level == level end),
      x_label = "stages applied", y_label = kept }
  end
  return figures
end

local reading = "`retention` is (m - m_base) / (m_tuned - m_base) of zero-shot accuracy on the digits' test pictures: the tuned model "
  .. "keeps 1, the base, which is the empty patch, 0. `of_tuned` is m / m_tuned, which flatters: the base has some of that too. "
  .. "`drift` is the change, from the base, of how often a test caption finds its emoji first: a task that was not tuned for.\n\n"
  .. "`bytes` are those of the patch file, positions and header included, numbers in fp16 (signs: a bit and a scale a tensor); "
  .. "what is measured is the model with its numbers rounded like that. `compression` is 1 - bytes / dense fp32 of all that "
  .. "tuning changed; `nominal_compression` counts numbers and no positions. `dropped` is the share that dare drops, found so "
  .. "that the order ends at its level.\n\nCompensating restores what stages before it took; as the first stage it finds nothing "
  .. "and is the identity. Truncating and compensating act on the picture tower's MLPs alone."

function describe.report(orderings, counts)
  local applied = string.format("The %d orderings apply a stage %d times; with what comes first shared, %d times. The search for "
    .. "levels comes on top.", #orderings, counts.naive, counts.shared)
  local parts = {
    col.section { title = "How to read the numbers", text = reading },
    col.section { title = "Which stage lost what", text = applied, table = { "profile" } },
    col.section { title = "Guards", table = { "guards" },
      text = "What guards say of a model after every stage, on validation pictures. In the orderings they only write it down. "
        .. "`guarded` has a stage, `ruin`, that no model survives: it goes back to the last good model and on from there, where "
        .. "`unguarded` writes down what it should have done." },
    col.sharing { title = "The orderings one by one and shared", arms = names(orderings), beyond = "tuned" },
  }
  local aimed = names(orderings, function(each) return each.point.level == aim end)
  for _, arm in ipairs(joined(aimed, { "lora 1" })) do
    parts[#parts + 1] = col.target { name = string.format("95 %% kept at %g compression, %s", aim, arm), metric = "retention",
      value = 0.95, better = "higher", arm = arm }
  end
  if #col.setting "seeds" > 1 then
    parts[#parts + 1] = col.compare { metric = "retention", baseline = "lora 1" }
  end
  return parts
end

return describe
