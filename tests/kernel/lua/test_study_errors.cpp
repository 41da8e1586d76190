// Each file in studies/ holds a mistake; approved/ holds what its author is told. To look at new texts, run with
// COLONNADE_APPROVE=1, which writes them, and read the difference.

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <vector>

#include "colonnade/error.h"
#include "tests/kernel/lua/harness.h"

namespace colonnade::host {

namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

std::string without(std::string text, const std::string& part) {
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part)) text.erase(at, part.size());
  return text;
}

std::string message_of(const fs::path& study) {
  try {
    load_test_study(study);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::usage);
    return without(error.what(), study.parent_path().string() + "/") + "\n";
  }
  return "no error\n";
}

}  // namespace

TEST_CASE("Mistakes of a study's author are answered with the approved texts", "[lua]") {
  std::vector<fs::path> studies;
  for (const auto& entry : fs::directory_iterator(lua_test_folder() / "studies")) {
    if (entry.path().extension() == ".lua") studies.push_back(entry.path());
  }
  std::sort(studies.begin(), studies.end());
  REQUIRE(studies.size() > 50);
  for (const fs::path& study : studies) {
    INFO(study.filename().string());
    const std::string message = message_of(study);
    const fs::path approved = lua_test_folder() / "approved" / study.filename().replace_extension(".txt");
    if (std::getenv("COLONNADE_APPROVE") != nullptr) std::ofstream(approved, std::ios::binary) << message;
    CHECK(message == read(approved));
    CHECK(message != "no error\n");
  }
}

TEST_CASE("A message opens with the study as the user named it", "[lua]") {
  const fs::path before = fs::current_path();
  fs::current_path(lua_test_folder() / "studies");
  CHECK_THROWS_WITH(load_test_study("no_os.lua"), Catch::StartsWith("no_os.lua:1: "));
  fs::current_path(lua_test_folder());
  CHECK_THROWS_WITH(load_test_study("studies/no_os.lua"), Catch::StartsWith("studies/no_os.lua:1: "));
  fs::current_path(before);
}

TEST_CASE("hidden: a pattern that never ends", "[.]") {
  WrittenStudy study("local text = string.rep('a', 40)\nlocal found = text:find(string.rep('a-', 40) .. 'b')\n");
  study.load();
}

TEST_CASE("hidden: a range that never ends", "[.]") {
  WrittenStudy study("\n\ntable.move({}, 1, 1 << 60, 2)\n");
  study.load();
}

TEST_CASE("hidden: a message handler that never ends", "[.]") {
  // Lua runs it inside the hook, where no other hook is called.
  WrittenStudy("xpcall(function() while true do end end, function() while true do end end)").load();
}

TEST_CASE("A function in C that never ends ends the process with the study's line", "[lua]") {
  const Ran pattern = run_hidden("hidden: a pattern that never ends");
  CHECK(pattern.code == 2);
  CHECK_THAT(pattern.output, Catch::Contains("colonnade: ") &&
                                 Catch::Contains("study.lua:2: 'find' ran for more than 1 s and cannot be stopped"));
  const Ran range = run_hidden("hidden: a range that never ends");
  CHECK(range.code == 2);
  CHECK_THAT(range.output, Catch::Contains("study.lua:3: 'move' ran for more than 1 s"));
  const Ran handler = run_hidden("hidden: a message handler that never ends");
  CHECK(handler.code == 2);
  CHECK_THAT(handler.output, Catch::Contains("study.lua:1: 'xpcall' ran for more than 1 s"));
}

TEST_CASE("Ctrl-C ends Lua that runs", "[lua]") {
  interrupt_lua();
  CHECK_THROWS_AS(WrittenStudy("while true do pcall(function() while true do end end) end").load(), Cancelled);
  clear_lua_interrupt();
  CHECK_THAT(WrittenStudy("while true do end").error(), Catch::Contains("endless loop"));
}

}  // namespace colonnade::host
