-- A cascade under guards: the model is looked at after every stage, and where a guard is broken the stage is rolled
-- back.
--
--   local guards = require "colonnade.guards"   -- cascade.guarded and cascade.run are the same functions
--   local arm, told = guards.guarded {
--     name = "guarded", base = start,
--     stages = {
--       { "dare", col.dare {}, parameter = "drop_rate", schedule = { 0.9, 0.95, 0.99 }, tries = 2 },
--       { "nullu", col.truncate { on = "effective", rank = 4 } },
--     },
--     retention = function(model) return model:zero_shot({ data = valid }).top1:retention { base = a, tuned = b } end,
--   }
--   metrics = function(model, arm) return { ..., guards = arm.name == "guarded" and told.note or nil } end
--
-- Stages are applied in the order given; after each of them `retention` (a function(model) that gives a scalar: the
-- share of quality kept, on validation data) and `compression` (likewise, may be absent) are looked at. The cascade
-- goes on from the last good model, without a stage that broke a guard or that an op refused (no null space, say).
-- mode = "log" only writes down what would have been rolled back; a stage that is refused ends the arm there.
--
-- rounds      how often all stages are applied; a stage's `schedule`, a list, has its strength in each round, the last
--             one for all that follow (rates that are cumulative, as dare's, grow from round to round). By default as
--             many as the longest schedule. A stage that was rolled back is not tried in later rounds.
-- tries       of a stage with a schedule: how often a strength halfway back to its last good one (0 at first) is tried
--             where a guard is broken; it has to keep the margin too
--
-- guarded gives an arm { name, point, model } and the table that holds its result once it has ended; run is the same
-- inside an adaptive arm of one's own, and returns the result: model, steps (a list of what happened: name, stage,
-- round, strength, retention, drop, compression, verdict, reason) and note, a table of them for the report.

local col = require "colonnade"
local arms = require "colonnade.arms"

local guards = {}

local function fail(...) col.fail(string.format(...)) end

-- Each may be set to another number or to false.
local usual_guards = {
  minimum_retention = 0.95,    -- of the start
  stability_drop = 0.05,       -- most that one stage may lose of retention
  margin = 0.02,               -- kept above the minimum by a strength that was found by trying
  maximum_compression = 0.997,
}

local run_options = {
  base = true, stages = true, retention = true, compression = false, guards = false, mode = false, rounds = false,
  point = false,
}

local function is_number(value) return math.type(value) ~= nil and value == value end

-- Why a step is not good enough; nil if it is.
local function broken(held, seen, before, tried)
  if not is_number(seen.retention) then return "retention is undefined" end
  local least = held.minimum_retention
  if least and tried and held.margin then least = least + held.margin end
  if least and seen.retention < least then
    return string.format("retention %.4g is below %g", seen.retention, least)
  end
  if held.stability_drop and before - seen.retention > held.stability_drop then
    return string.format("retention fell by %.4g, more than %g", before - seen.retention, held.stability_drop)
  end
  if held.maximum_compression and seen.compression and seen.compression > held.maximum_compression then
    return string.format("compression %.5g is above %g", seen.compression, held.maximum_compression)
  end
end

local function check_run(who, options)
  arms.check_options(who, options, run_options)
  arms.check_steps(who, options.stages)
  local held, rounds = {}, options.rounds or 1
  if options.guards ~= nil then
    arms.check_options(who .. ": guards", options.guards,
      { minimum_retention = false, stability_drop = false, margin = false, maximum_compression = false })
  end
  for name, usual in pairs(usual_guards) do
    local given = options.guards and options.guards[name]
    if given == nil then given = usual end
    if given then arms.check_number(who, "guards." .. name, given, 0, 1) end
    held[name] = given
  end
  local mode = options.mode or "act"
  if mode ~= "act" and mode ~= "log" then fail("%s: mode is '%s'; allowed: act, log", who, tostring(mode)) end
  for _, stage in ipairs(options.stages) do
    local schedule = stage.schedule
    if schedule ~= nil then
      if type(schedule) ~= "table" or #schedule == 0 then
        fail("%s: the schedule of '%s' is a list of strengths, { 0.9, 0.95 }", who, stage[1])
      end
      if col.kind(stage[2]) == "recipe" and stage.parameter == nil then
        fail("%s: stage '%s' has a schedule and no `parameter` to set", who, stage[1])
      end
      if options.rounds == nil then rounds = math.max(rounds, #schedule) end
    elseif stage.tries then
      fail("%s: stage '%s' has `tries` and no schedule of strengths to go back on", who, stage[1])
    end
  end
  return held, mode, math.tointeger(arms.check_number(who, "rounds", rounds, 1, 1000))
end

local columns = { "step", "strength", "retention", "drop", "compression", "verdict", "reason" }

local function note_of(steps)
  local cells = {}
  for _, step in ipairs(steps) do
    for _, column in ipairs(columns) do
      local value = step[column == "step" and "name" or column]
      cells[#cells + 1] = is_number(value) and string.format("%.6g", value) or type(value) == "string" and value or ""
    end
  end
  return col.note { columns = columns, cells = cells }
end

function guards.run(options)
  local who = "cascade.run"
  local held, mode, rounds = check_run(who, options)
  local point = options.point or {}
  local function look(model)
    local compression = options.compression and options.compression(model)
    return { retention = options.retention(model), compression = compression }
  end
  local model, last = options.base, col.values(look(options.base))
  local steps = { { name = "start", retention = last.retention, compression = last.compression, verdict = "start" } }
  local stopped, good_strength = {}, {}

  -- Applies the stage at a strength; whether it was kept.
  local function try(stage, round, strength, tried)
    local made = arms.apply_at(who, stage, model, point, strength)
    local ask = mode == "act" and col.attempt or col.values  -- a stage that is refused cannot be kept, only left out
    local seen, refusal = ask(look(made))
    local before = is_number(last.retention) and last.retention or 0
    local reason = refusal or broken(held, seen, before, tried)
    seen = seen or {}
    local name = rounds > 1 and string.format("%s, round %d", stage[1], round) or stage[1]
    local verdict = not reason and "kept" or mode == "log" and "kept, would be rolled back" or "rolled back"
    steps[#steps + 1] = {
      name = name, stage = stage[1], round = round, strength = strength, model = made, retention = seen.retention,
      drop = is_number(seen.retention) and before - seen.retention or nil, compression = seen.compression,
      verdict = verdict, reason = reason,
    }
    if reason and mode == "act" then return false end
    model, last, good_strength[stage[1]] = made, seen, strength
    return true
  end

  local function attempt(stage, round)
    local schedule = stage.schedule
    local strength = schedule and schedule[math.min(round, #schedule)]
    if try(stage, round, strength, false) then return end
    for _ = 1, stage.tries or 0 do
      strength = ((good_strength[stage[1]] or 0) + strength) / 2
      if try(stage, round, strength, true) then break end
    end
    stopped[stage[1]] = true
  end

  for round = 1, rounds do
    for _, stage in ipairs(options.stages) do
      if not stopped[stage[1]] then attempt(stage, round) end
    end
  end
  return { model = model, steps = steps, note = note_of(steps) }
end

function guards.guarded(options)
  local who = "cascade.guarded"
  if type(options) ~= "table" or type(options.name) ~= "string" then fail("%s: option 'name' is missing", who) end
  local given, told = {}, {}
  for name, value in pairs(options) do
    if name ~= "name" then given[name] = value end
  end
  check_run(who, given)
  for _, stage in ipairs(given.stages) do  -- mistakes of a stage show where the study is read
    given.retention(arms.apply_at(who, stage, given.base, given.point or {}, stage.schedule and stage.schedule[1]))
  end
  return { name = options.name, point = given.point, model = function()
    for name, value in pairs(guards.run(given)) do told[name] = value end
    return told.model
  end }, told
end

return guards
