-- A grid: one arm for each combination of parameters' levels.
--
--   local grid = require "colonnade.grid"
--   arms = grid.arms {
--     over  = { rank = { 4, 8 }, sparsity = { 0.5, 0.75 } },
--     model = function(point)
--       return base:mask { target_sparsity = point.sparsity }:lora { rank = point.rank }
--     end,
--     where = function(point) return point.rank < 8 or point.sparsity > 0.5 end,
--   }
--
-- gives "rank=4 sparsity=0.5", "rank=4 sparsity=0.75", ...: parameters in the order of their names, or of `order`, a
-- list of them; the last one changes fastest. Each arm's point is its combination. `where` (may be absent) keeps what
-- it is true for.

local col = require "colonnade"
local arms = require "colonnade.arms"

local grid = {}

local most_arms = 10000

local function ordered_names(over, order)
  local names = {}
  for name in pairs(over) do names[#names + 1] = name end
  if order == nil then return names end
  if #order ~= #names then
    col.fail(string.format("grid.arms: order has %d names, over has %d", #order, #names))
  end
  for _, name in ipairs(order) do
    if over[name] == nil then col.fail(string.format("grid.arms: order names '%s', which is not in over", name)) end
  end
  return order
end

local function check_levels(over)
  local count = 1
  for name, levels in pairs(over) do
    if type(levels) ~= "table" or #levels == 0 then
      col.fail(string.format("grid.arms: over.%s is to be a list of at least one value", name))
    end
    count = count * #levels
  end
  if count > most_arms then
    col.fail(string.format("grid.arms: %d combinations; allowed: up to %d", count, most_arms))
  end
  return count
end

function grid.arms(options)
  arms.check_options("grid.arms", options, { over = true, model = true, order = false, where = false })
  if type(options.over) ~= "table" or next(options.over) == nil then
    col.fail("grid.arms: over is a table of lists, { rank = { 4, 8 } }")
  end
  local names, count = ordered_names(options.over, options.order), check_levels(options.over)
  local list = {}
  for index = 0, count - 1 do
    local point, parts, rest = {}, {}, index
    for i = #names, 1, -1 do
      local levels = options.over[names[i]]
      point[names[i]] = levels[rest % #levels + 1]
      parts[i] = string.format("%s=%s", names[i], point[names[i]])
      rest = rest // #levels
    end
    if options.where == nil or options.where(point) then
      local model = arms.apply("grid.arms", "model", function() return options.model(point) end)
      list[#list + 1] = { name = table.concat(parts, " "), model = model, point = point }
    end
  end
  if #list == 0 then col.fail("grid.arms: where leaves no combination") end
  return list
end

return grid
