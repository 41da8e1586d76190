-- Cascades: stages that compress a model one after the other, in any order, at wanted levels.
--
--   local cascade = require "colonnade.cascade"
--   local arms, traces, counts = cascade.orderings {
--     base = start,
--     stages = {
--       { "dare", col.dare {} },
--       { "nullu", col.truncate { on = "effective", rank = 4, sites = "role:fc1" } },
--       { "alphaedit", function(model) return model:compensate { before = start, keys = keys } end },
--     },
--     levels = { 0.9, 0.99 },
--     by = { stage = "dare", parameter = "drop_rate",
--            size = function(model) return model:stored({}).difference_compression end },
--   }
--
-- orderings   every order of all stages at every level, as arms "dare-nullu-alphaedit 0.9" with the point { order,
--             level }
-- ablation    every non-empty subset of the stages, in the order given, likewise
--     stages  each { "name", recipe or function(model, point, strength) }
--     by      the stage whose strength makes the level: a recipe's `parameter`, or the function's third argument.
--             Without `size` the level is the strength itself. With it, a function(model) that gives the scalar
--             compression (1 - bytes kept / bytes), the strength is searched until the end of the arm keeps 1 - level
--             of the bytes within `tolerance` (0.005 of it, so that any two orders agree within 1 %); `least` and
--             `most` (0 and 1) bound it. Such arms are adaptive.
--     watch   { retention =, compression =, guards = } as guards.lua has them: what guards would say is written down,
--             and nothing is rolled back, since orders that went back would be alike
--     traces  by the arm's name, for `metrics`: steps, a list of { name, model } after each stage; strength, once
--             found; note, what was watched
--     counts  how often a stage is applied for these arms one by one (naive), and with what comes first shared (shared)
-- guarded     one arm that goes back where a guard is broken, and run: see guards.lua

local col = require "colonnade"
local arms = require "colonnade.arms"
local guards = require "colonnade.guards"

local cascade = {}

local most_stages = 6         -- 720 orders
local most_search_steps = 40
local usual_tolerance = 0.005
local strength_digits = "%.7f"

local function fail(...) col.fail(string.format(...)) end

-- {1, 2, 3}, {1, 3, 2}, ... of the numbers from 1 to n.
local function permutations(n)
  local found = {}
  local function extend(chosen, used)
    if #chosen == n then
      found[#found + 1] = { table.unpack(chosen) }
      return
    end
    for i = 1, n do
      if not used[i] then
        used[i], chosen[#chosen + 1] = true, i
        extend(chosen, used)
        used[i], chosen[#chosen] = nil, nil
      end
    end
  end
  extend({}, {})
  return found
end

-- Non-empty, the first stage changing fastest.
local function subsets(n)
  local found = {}
  for bits = 1, (1 << n) - 1 do
    local chosen = {}
    for i = 1, n do
      if bits >> (i - 1) & 1 == 1 then chosen[#chosen + 1] = i end
    end
    found[#found + 1] = chosen
  end
  return found
end

-- `by` with the defaults filled in; the stage that it names knows its parameter from here.
local function check_by(who, by, stages)
  if by == nil then return nil end
  arms.check_options(who .. ": by", by,
    { stage = true, parameter = false, size = false, tolerance = false, least = false, most = false })
  local found
  for _, stage in ipairs(stages) do
    if stage[1] == by.stage then found = stage end
  end
  if not found then fail("%s: by names the stage '%s', which is not among the stages", who, tostring(by.stage)) end
  if col.kind(found[2]) == "recipe" and by.parameter == nil then
    fail("%s: by.parameter is missing: the parameter of '%s' that is to be set", who, by.stage)
  end
  local least = arms.check_number(who, "by.least", by.least or 0, -math.huge, math.huge)
  return {
    stage = by.stage, size = by.size, least = least, parameter = by.parameter,
    most = arms.check_number(who, "by.most", by.most or 1, least, math.huge),
    tolerance = arms.check_number(who, "by.tolerance", by.tolerance or usual_tolerance, 1e-6, 1),
  }
end

local function check_levels(who, levels, by)
  if levels == nil then return nil end
  if type(levels) ~= "table" or #levels == 0 then fail("%s: levels is a list of numbers, { 0.9, 0.99 }", who) end
  if by == nil then fail("%s: levels need `by`, which says what stage's strength makes a level", who) end
  for i, level in ipairs(levels) do
    arms.check_number(who, string.format("levels[%d]", i), level, 0, by.size and 0.999999 or math.huge)
  end
  return levels
end

-- The strength at which what `build` gives keeps 1 - level. The share kept falls with the strength, nearly in a line,
-- so the next try lies on the line between the ends; an end that stays twice counts half (the Illinois rule).
local function search(who, name, by, level, build)
  local wanted = 1 - level
  local function kept(strength) return 1 - by.size(build(strength)):value() end
  local ends = col.values { least = by.size(build(by.least)), most = by.size(build(by.most)) }
  local low, high = by.least, by.most
  local above, below = 1 - ends.least - wanted, 1 - ends.most - wanted
  local enough = by.tolerance * wanted
  if math.abs(above) <= enough then return low end
  if math.abs(below) <= enough then return high end
  if below > 0 or above < 0 then
    fail("%s: '%s' cannot keep %.4g %%: it keeps %.4g %% with '%s' at %g, and %.4g %% at %g", who, name, 100 * wanted,
         100 * (above + wanted), by.stage, low, 100 * (below + wanted), high)
  end
  local moved  -- the end that moved last
  for _ = 1, most_search_steps do
    local try = tonumber(string.format(strength_digits, low + (high - low) * above / (above - below)))
    local miss = kept(try) - wanted
    if math.abs(miss) <= enough then return try end
    if miss > 0 then
      low, above = try, miss
      if moved == "low" then below = below / 2 end
      moved = "low"
    else
      high, below = try, miss
      if moved == "high" then above = above / 2 end
      moved = "high"
    end
  end
  fail("%s: '%s' came no nearer than %g to %g %% in %d tries of '%s'", who, name, high - low, 100 * wanted,
       most_search_steps, by.stage)
end

-- All stages of `sequence`, the levelled one at `strength`: the steps and the model at the end.
local function chain(who, options, stages, by, sequence, point, strength)
  local model, steps = options.base, {}
  for _, index in ipairs(sequence) do
    local stage = stages[index]
    local own = by and stage[1] == by.stage and { stage[1], stage[2], parameter = by.parameter } or stage
    model = arms.apply_at(who, own, model, point, own ~= stage and strength or nil)
    steps[#steps + 1] = { name = stage[1], model = model }
  end
  return steps, model
end

-- What guards would say of a sequence, which stays as it is.
local function watched(options, stages, by, sequence, point, strength)
  local list = {}
  for i, index in ipairs(sequence) do
    local stage = stages[index]
    list[i] = { stage[1], stage[2] }
    if strength and stage[1] == by.stage then list[i].parameter, list[i].schedule = by.parameter, { strength } end
  end
  local given = { base = options.base, stages = list, point = point, mode = "log" }
  for name, value in pairs(options.watch) do given[name] = value end
  return guards.run(given).note
end

-- Distinct prefixes: what comes before the levelled stage is one for all levels, what comes after is each arm's own.
local function count(list)
  local naive, shared, seen = 0, 0, {}
  for _, each in ipairs(list) do
    local prefix = ""
    for _, name in ipairs(each.names) do
      prefix = prefix .. "/" .. name
      if each.level and name == each.levelled then
        prefix = each.searched and each.name or prefix .. "@" .. each.level
      end
      naive = naive + 1
      if not seen[prefix] then shared = shared + 1 end
      seen[prefix] = true
    end
  end
  return { naive = naive, shared = shared }
end

local function arms_of(who, options, sequences)
  local stages = options.stages
  local by = check_by(who, options.by, stages)
  local levels = check_levels(who, options.levels, by)
  local list, traces, counted = {}, {}, {}
  local function add(sequence, level)
    local names, has_levelled = {}, false
    for i, index in ipairs(sequence) do
      names[i] = stages[index][1]
      has_levelled = has_levelled or by and names[i] == by.stage
    end
    if not has_levelled then level = nil end
    local order = table.concat(names, "-")
    local name = level and string.format("%s %g", order, level) or order
    if traces[name] then return end
    local point, trace = { order = order, level = level }, {}
    traces[name] = trace
    local searched = level and by.size
    counted[#counted + 1] =
      { name = name, names = names, level = level, levelled = by and by.stage, searched = searched }
    local function build(strength)
      local steps, model = chain(who, options, stages, by, sequence, point, strength)
      trace.steps, trace.strength = steps, strength
      return model
    end
    if not searched and not options.watch then
      list[#list + 1] = { name = name, model = build(level), point = point }
      return
    end
    -- Mistakes of a stage show where the study is read, and plans can count; no other arm has this strength.
    local nominal = searched and by.least + (by.most - by.least) * (#list + 1) / 1e6 or level
    list[#list + 1] = { name = name, point = point, expected = build(nominal), model = function()
      local model = build(searched and search(who, name, by, level, build) or level)
      if options.watch then trace.note = watched(options, stages, by, sequence, point, trace.strength) end
      return model
    end }
  end
  for _, sequence in ipairs(sequences) do
    for _, level in ipairs(levels or { false }) do add(sequence, level or nil) end
  end
  return list, traces, count(counted)
end

local sequence_options = { base = true, stages = true, levels = false, by = false, watch = false }

local function sequences_of(who, options, make)
  arms.check_options(who, options, sequence_options)
  if options.watch ~= nil then
    arms.check_options(who .. ": watch", options.watch, { retention = true, compression = false, guards = false })
  end
  local stages = arms.check_steps(who, options.stages)
  if #stages > most_stages then fail("%s: %d stages; allowed: up to %d", who, #stages, most_stages) end
  return arms_of(who, options, make(#stages))
end

function cascade.orderings(options) return sequences_of("cascade.orderings", options, permutations) end
function cascade.ablation(options) return sequences_of("cascade.ablation", options, subsets) end

cascade.guarded, cascade.run = guards.guarded, guards.run

return cascade
