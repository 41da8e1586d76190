#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "kernel/lua/limits.h"
#include "kernel/study/study.h"

namespace colonnade::host {

// The folder of these tests in the source tree.
std::filesystem::path lua_test_folder();

// Limits small enough for tests that exceed them.
LuaLimits test_limits();

// Settings as study.toml would give them: text.path, steps = "many", rate = 3, ranks, corpus.dir.
Settings test_settings();

// A study written to a file of its own in a new folder, which goes with the object.
class WrittenStudy {
 public:
  explicit WrittenStudy(const std::string& text);
  ~WrittenStudy();
  WrittenStudy(const WrittenStudy&) = delete;
  WrittenStudy& operator=(const WrittenStudy&) = delete;

  const std::filesystem::path& folder() const { return folder_; }
  // Throws what loading throws.
  std::unique_ptr<LoadedStudy> load() const;
  // The message of the Error that loading throws, its folder left out; fails the test if it throws none.
  std::string error() const;

 private:
  std::filesystem::path folder_;
};

// Loads with the fake catalogue (which lives as long as the process) and small limits.
std::unique_ptr<LoadedStudy> load_test_study(const std::filesystem::path& study);

// What a study of the given lines (with `col` at hand) returns in its arm "it".
FieldRef built(const LoadedStudy& study, const std::string& arm = "it");

// Runs hidden test cases of this executable; its output (both streams) and its exit code.
struct Ran {
  std::string output;
  int code = 0;
};
Ran run_hidden(const std::string& test_case);

}  // namespace colonnade::host
