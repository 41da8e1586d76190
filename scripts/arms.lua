-- What the combinators have in common: lists of arms, stages, and options with errors at the study's line.
--
--   local arms = require "colonnade.arms"
--   arms.join(ablation.arms { ... }, { { name = "frozen", model = base } })

local col = require "colonnade"

local arms = {}

local function names_of(options)
  local names = {}
  for name in pairs(options) do names[#names + 1] = name end
  return table.concat(names, ", ")
end

-- Refuses a call whose `given` is no table, has a name that `allowed` has not, or lacks one that is `true` there
-- (needed).
function arms.check_options(who, given, allowed)
  if type(given) ~= "table" then
    col.fail(string.format("%s takes one table of options; found a %s", who, col.kind(given)))
  end
  for name in pairs(given) do
    if allowed[name] == nil then
      col.fail(string.format("%s: unknown option '%s'. It has: %s", who, name, names_of(allowed)))
    end
  end
  for name, needed in pairs(allowed) do
    if needed and given[name] == nil then col.fail(string.format("%s: option '%s' is missing", who, name)) end
  end
end

local function is_value(value)
  local kind = col.kind(value)
  return kind == "node" or kind == "field"
end

-- Applies a stage, a recipe or a function(model, point), and returns what it makes of the model.
function arms.apply(who, name, stage, model, point)
  local kind = col.kind(stage)
  if kind ~= "recipe" and kind ~= "function" then
    col.fail(string.format("%s: '%s' is a %s; allowed: a recipe or a function(model, point)", who, name, kind))
  end
  local result = kind == "recipe" and stage(model) or kind == "function" and stage(model, point)
  if not is_value(result) then
    col.fail(string.format("%s: '%s' gave a %s; allowed: a node or a field", who, name, col.kind(result)))
  end
  return result
end

-- Checks a list of stages { "name", recipe or function } and returns it.
function arms.check_stages(who, stages)
  if type(stages) ~= "table" or #stages == 0 then
    col.fail(string.format('%s: stages is a list in the order of application, { { "name", recipe }, ... }', who))
  end
  local seen = {}
  for i, stage in ipairs(stages) do
    if type(stage) ~= "table" or type(stage[1]) ~= "string" or stage[2] == nil then
      col.fail(string.format('%s: stages[%d] is written { "name", recipe or function(model, point) }', who, i))
    end
    if seen[stage[1]] then col.fail(string.format("%s: two stages are called '%s'", who, stage[1])) end
    seen[stage[1]] = true
  end
  return stages
end

local step_options = { [1] = true, [2] = true, parameter = true, schedule = true, tries = true }

-- Likewise for stages whose strength is set from outside: { "name", recipe or function, parameter =, schedule =, tries
-- = }.
function arms.check_steps(who, stages)
  arms.check_stages(who, stages)
  for _, stage in ipairs(stages) do
    for name in pairs(stage) do
      if not step_options[name] then
        local allowed = "It has: parameter, schedule, tries"
        col.fail(string.format("%s: stage '%s' has no option '%s'. %s", who, stage[1], name, allowed))
      end
    end
  end
  return stages
end

-- Applies a stage at a strength, its `parameter` or a function's third argument; nil leaves it as it is written.
function arms.apply_at(who, stage, model, point, strength)
  local op = stage[2]
  if strength == nil then return arms.apply(who, stage[1], op, model, point) end
  local set = op
  if col.kind(op) == "recipe" then
    set = function(from) return op(from, { [stage.parameter] = strength }) end
  elseif col.kind(op) == "function" then
    set = function(from, at) return op(from, at, strength) end
  end
  return arms.apply(who, stage[1], set, model, point)
end

function arms.check_number(who, name, value, least, most)
  if math.type(value) == nil or value < least or value > most then
    col.fail(string.format("%s: %s is %s; allowed: a number from %s to %s", who, name, tostring(value), least, most))
  end
  return value
end

-- The arm with the stages for which `chosen[name]` is true, applied to `base` in their order, then `finish` if there is
-- one. Its point says of every stage whether it is in.
function arms.composed(who, name, base, stages, chosen, finish)
  local point = {}
  for _, stage in ipairs(stages) do point[stage[1]] = chosen[stage[1]] or false end
  local model = base
  for _, stage in ipairs(stages) do
    if point[stage[1]] then model = arms.apply(who, stage[1], stage[2], model, point) end
  end
  if finish ~= nil then model = arms.apply(who, "finish", finish, model, point) end
  return { name = name, model = model, point = point }
end

-- One list of arms from several; a map { name = model } adds its arms sorted by name.
function arms.join(...)
  local joined = {}
  for i = 1, select("#", ...) do
    local part = select(i, ...)
    if type(part) ~= "table" then
      col.fail(string.format("arms.join: argument %d is a %s; allowed: lists and maps of arms", i, col.kind(part)))
    end
    for key, value in pairs(part) do
      if type(key) == "string" then
        local arm = type(value) == "table" and value or { model = value }
        value = { name = arm.name or key, model = arm.model, point = arm.point, expected = arm.expected }
      end
      joined[#joined + 1] = value
    end
  end
  return joined
end

return arms
