#include "tests/kernel/lua/harness.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "colonnade/error.h"
#include "kernel/lua/loaded_study.h"
#include "tests/kernel/lua/fake_catalogue.h"

namespace colonnade::host {

namespace fs = std::filesystem;

fs::path lua_test_folder() {
  return fs::path(COLONNADE_TEST_SOURCE_DIR) / "tests" / "kernel" / "lua";
}

LuaLimits test_limits() {
  LuaLimits limits;
  limits.memory = std::size_t{32} << 20;
  limits.instructions = 20'000'000;
  limits.seconds = 1;
  return limits;
}

Settings test_settings() {
  Settings settings;
  settings.study_folder = lua_test_folder() / "studies";
  settings.values = {
      {"text", {{"path", "data"}}}, {"steps", "many"}, {"rate", 3}, {"ranks", {4, 8}}, {"corpus", {{"dir", "data"}}}};
  settings.origin = {
      {"text.path", {"study.toml:2", "", ""}}, {"steps", {"study.toml:5", "", ""}}, {"rate", {"", "--set", ""}}};
  return settings;
}

std::unique_ptr<LoadedStudy> load_test_study(const fs::path& study) {
  static const std::unique_ptr<Catalogue> catalogue = make_fake_catalogue();
  ::setenv("COLONNADE_SCRIPTS", (fs::path(COLONNADE_TEST_SOURCE_DIR) / "scripts").c_str(), 1);
  return load_study(study, test_settings(), *catalogue, test_limits());
}

WrittenStudy::WrittenStudy(const std::string& text) {
  std::string name = (fs::temp_directory_path() / "colonnade-lua-XXXXXX").string();
  REQUIRE(::mkdtemp(name.data()) != nullptr);
  folder_ = name;
  std::ofstream(folder_ / "study.lua") << text;
}

WrittenStudy::~WrittenStudy() {
  fs::remove_all(folder_);
}

std::unique_ptr<LoadedStudy> WrittenStudy::load() const {
  return load_test_study(folder_);
}

std::string WrittenStudy::error() const {
  try {
    load();
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::usage);
    std::string message = error.what();
    const std::string prefix = folder_.string() + "/";
    if (message.starts_with(prefix)) message.erase(0, prefix.size());
    return message;
  }
  FAIL("the study was expected to be refused");
  return "";
}

FieldRef built(const LoadedStudy& study, const std::string& arm) {
  for (const Arm& candidate : study.description().arms) {
    if (candidate.name == arm) return candidate.output.value();
  }
  FAIL("there is no arm '" + arm + "'");
  return {};
}

Ran run_hidden(const std::string& test_case) {
  // A process that the watchdog ends leaves its study behind: in a folder that goes with this call.
  const WrittenStudy scratch("");
  const std::string command = "TMPDIR=" + scratch.folder().string() + " " +
                              fs::read_symlink("/proc/self/exe").string() + " '" + test_case + "' 2>&1";
  FILE* pipe = ::popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  Ran ran;
  std::array<char, 4096> buffer;
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr) ran.output += buffer.data();
  const int status = ::pclose(pipe);
  ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return ran;
}

}  // namespace colonnade::host
