#include <catch2/catch.hpp>

#include "colonnade/error.h"
#include "tests/kernel/lua/harness.h"

namespace colonnade::host {

namespace {

// What an expression gives in a study, as text.
std::string evaluated(const std::string& lines) {
  return WrittenStudy("error(tostring((function() " + lines + " end)()), 0)").error();
}

}  // namespace

TEST_CASE("pairs and next follow the keys: booleans, numbers, strings", "[lua]") {
  const std::string list = "local t, s = { z = 1, a = 1, [10] = 1, [2] = 1, [1.5] = 1, [false] = 1, [true] = 1 }, '' ";
  CHECK_THAT(evaluated(list + "for k in pairs(t) do s = s .. tostring(k) .. ' ' end return s"),
             Catch::EndsWith("false true 1.5 2 10 a z "));
  CHECK_THAT(
      evaluated(list + "local k = next(t) while k ~= nil do s = s .. tostring(k) .. ' ' k = next(t, k) end return s"),
      Catch::EndsWith("false true 1.5 2 10 a z "));
  CHECK_THAT(evaluated("local n = 0 for k in pairs({ 1, 2, 3 }) do n = n + k end return n"), Catch::EndsWith("6"));
  CHECK_THAT(evaluated("return next({})"), Catch::EndsWith("nil"));
}

TEST_CASE("Entries may be cleared while pairs goes over them", "[lua]") {
  CHECK_THAT(
      evaluated("local t, s = { a = 1, b = 2, c = 3 }, '' for k in pairs(t) do s = s .. k t.b = nil end return s"),
      Catch::EndsWith("ac"));
}

TEST_CASE("An error far down a recursion is told at once, with the way there cut short", "[lua]") {
  const WrittenStudy study("local function f(n) if n == 0 then error('too deep') end return 1 + f(n - 1) end f(60000)");
  CHECK_THAT(study.error(), Catch::Contains("too deep\n  called from study.lua:1\n"));
}

TEST_CASE("__pairs is honoured", "[lua]") {
  CHECK_THAT(
      evaluated(
          "local t = setmetatable({}, { __pairs = function() return function(_, k) if not k then return 7 end end, "
          "nil, nil end }) local s = 0 for k in pairs(t) do s = s + k end return s"),
      Catch::EndsWith("7"));
}

TEST_CASE("table.sort is stable and keeps no clock", "[lua]") {
  CHECK_THAT(evaluated("local t = {} for i = 1, 300 do t[i] = { k = i % 3, i = i } end "
                       "table.sort(t, function(a, b) return a.k < b.k end) "
                       "for i = 2, 300 do if t[i].k == t[i-1].k and t[i].i < t[i-1].i then return 'unstable' end end "
                       "return 'stable ' .. t[1].i .. ' ' .. t[300].i"),
             Catch::EndsWith("stable 3 299"));
  CHECK_THAT(evaluated("local t = { 3, 1, 2 } table.sort(t) return table.concat(t, ' ')"), Catch::EndsWith("1 2 3"));
  CHECK_THAT(evaluated("local t = { 3, 1, 2 } table.sort(t, function() return true end) return #t"),
             Catch::EndsWith("3"));
  CHECK_THAT(evaluated("table.sort({ 1, 'a' })"), Catch::Contains("attempt to compare"));
}

TEST_CASE("No text holds an address", "[lua]") {
  CHECK_THAT(evaluated("return tostring({}) .. tostring(print) .. string.format('%s %s', {}, pairs)"),
             Catch::EndsWith("tablefunctiontable function"));
  CHECK_THAT(evaluated("return tostring(setmetatable({}, { __tostring = function() return 'own' end }))"),
             Catch::EndsWith("own"));
  CHECK_THAT(evaluated("return string.format('%5.2f|%d|%%p', 1.5, 3)"), Catch::EndsWith(" 1.50|3|%p"));
}

TEST_CASE("math.random gives the same numbers in every study", "[lua]") {
  const std::string first = evaluated("return math.random(1000000)");
  CHECK(first == evaluated("return math.random(1000000)"));
  CHECK_THAT(evaluated("local a = math.random() return a ~= math.random()"), Catch::EndsWith("true"));
  CHECK_THAT(evaluated("return math.randomseed"), Catch::EndsWith("nil"));
}

TEST_CASE("What leads outside is not there", "[lua]") {
  for (const char* name : {"os", "io", "debug", "package", "coroutine", "dofile", "loadfile", "collectgarbage", "_G"}) {
    INFO(name);
    CHECK_THAT(evaluated(std::string("return ") + name), Catch::Contains(std::string("'") + name + "'"));
  }
  CHECK_THAT(evaluated("return getmetatable('')"), Catch::EndsWith("false"));
  CHECK_THAT(evaluated("return load('return 1 + 1')()"), Catch::EndsWith("2"));
  CHECK_THAT(evaluated("return load('return os')()"), Catch::Contains("'os' does not exist"));
  CHECK_THAT(evaluated("return select(2, load('return +'))"), Catch::Contains("unexpected symbol"));
  CHECK_THAT(evaluated("return load('return x', 'name', 't', { x = 5 })()"), Catch::EndsWith("5"));
}

TEST_CASE("Errors can be caught, limits cannot", "[lua]") {
  CHECK_THAT(evaluated("local ok, why = pcall(function() return require('colonnade').lroa end) return why"),
             Catch::Contains("did you mean 'lora'?"));
  CHECK_THAT(evaluated("xpcall(function() while true do end end, function(why) return why end) while true do end"),
             Catch::Contains("endless loop"));
}

TEST_CASE("Modules run once and come from the study's folder", "[lua]") {
  WrittenStudy study("local a, b = require 'helper', require 'helper'\nerror(tostring(a == b) .. a.name, 0)\n");
  CHECK_THAT(study.error(), Catch::Contains("there is no module 'helper'"));
  FILE* file = std::fopen((study.folder() / "helper.lua").c_str(), "w");
  std::fputs("return { name = 'mine' }", file);
  std::fclose(file);
  CHECK(study.error() == "study.lua:2: truemine");
}

TEST_CASE("A require that failed can be tried again", "[lua]") {
  WrittenStudy study("pcall(require, 'helper')\nlocal _, why = pcall(require, 'helper')\nerror(why, 0)\n");
  FILE* file = std::fopen((study.folder() / "helper.lua").c_str(), "w");
  std::fputs("error('broken')", file);
  std::fclose(file);
  CHECK_THAT(study.error(), Catch::Contains("helper.lua:1: broken"));
}

}  // namespace colonnade::host
