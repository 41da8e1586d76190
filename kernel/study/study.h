#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel/graph/node.h"
#include "kernel/plugin/catalogue.h"

namespace colonnade::host {

// Where a setting's value comes from.
struct SettingOrigin {
  std::string file;      // "study.toml:12" where the file's top level or a table of it says so; "" where it does not
  std::string changed;   // who changed that: "--set", "--arm-steps", "study.toml:30 (profile pilot)"; "" nobody
  std::string replaced;  // what stood there before, for people

  std::string text() const {
    if (changed.empty()) return file;
    return replaced.empty() ? changed : changed + ", instead of " + replaced;
  }
};

// study.toml after profile and --set: what changes between executions.
struct Settings {
  std::filesystem::path study_folder;
  Json values = Json::object();                 // dotted names resolved: {"text": {"path": "..."}, "threads": 1, ...}
  std::vector<std::string> profiles;            // that the file offers
  std::map<std::string, SettingOrigin> origin;  // by dotted name

  std::string origin_text(const std::string& name, const std::string& otherwise) const {
    const auto found = origin.find(name);
    return found == origin.end() ? otherwise : found->second.text();
  }
};

// Where the study lies: a folder with study.lua (and study.toml), or a Lua file. `overrides` are "key=value" of --set,
// or an option as it was typed ("--key=value", "--disable-key=false"), which messages then name. Reserved settings:
// threads, workers, device, simd, retries, seeds, plugins, visualization, checkpoint_seconds, store_gigabytes,
// drop_below_seconds. Throws Error(usage) naming file and line.
Settings load_settings(const std::filesystem::path& study, const std::string& profile,
                       const std::vector<std::string>& overrides);

// A metric of an arm: the field (or, for a node as a whole, each of its scalar fields as "name.field"); or a field that
// is written to a file, whose name then is the file's.
struct MetricRef {
  std::string name;
  FieldRef from;
};

struct Arm {
  std::string name;
  Json point = Json::object();  // factors and parameters of this arm, columns of the results ("scan": true, "rank": 4)
  bool adaptive = false;
  std::vector<MetricRef> metrics;  // templates, seeds unbound; empty for adaptive arms until they have returned
  std::vector<MetricRef> files;    // likewise
  std::vector<MetricRef> expected;  // of an adaptive arm: the metrics of a model that it may end with, for plans
  std::optional<FieldRef> output;   // what the arm returns
};

// What a study.lua returns, as data.
struct StudyDescription {
  std::string name;
  std::string question;  // what is asked, for the report
  std::vector<std::uint64_t> seeds;
  std::vector<Arm> arms;
  std::vector<MetricRef> shared;               // values the study reports that belong to no arm (a rival, a bound)
  std::vector<MetricRef> shared_files;         // written for no arm
  Json figures = Json::array();                // declarations, see lua/declarations.h
  Json report = Json::object();                // comparisons, effects, targets, sections: likewise
  Json used_settings = Json::object();         // what col.setting was asked for, and what it gave
  std::vector<std::filesystem::path> sources;  // study.lua and what it required, in order of loading
  bool draws_seed = false;                     // at least one node depends on the trial's seed
};

// What an adaptive arm wants next.
struct AdaptiveStep {
  std::vector<FieldRef> needs;     // bound fields whose values it waits for; empty when it has returned
  bool attempt = false;            // it goes on by `refuse` where an op refuses what it was given
  std::vector<MetricRef> metrics;  // when it has returned
  std::vector<MetricRef> files;
  std::optional<FieldRef> output;
  std::string error;  // the arm failed: complete message with the user's file and line
};

// A study with its living Lua state. Loading evaluates nothing.
class LoadedStudy {
 public:
  // Runs study.lua in the sandbox. Throws Error(usage) whose message is complete (file, line, nearest name).
  static std::unique_ptr<LoadedStudy> load(const std::filesystem::path& study, const Settings& settings,
                                           const Catalogue& catalogue);
  virtual ~LoadedStudy() = default;
  virtual const StudyDescription& description() const = 0;
  virtual NodeFactory& nodes() = 0;
  // Adaptive arms: one coroutine an arm and seed.
  virtual AdaptiveStep start(std::size_t arm, std::uint64_t seed) = 0;
  // `values` answer the last step's `needs`, in order: documents of records, {"value": ...} of scalars, columns of
  // tables.
  virtual AdaptiveStep resume(std::size_t arm, std::uint64_t seed, const std::vector<Json>& values) = 0;
  // In place of the values: what the op said that refused one of them, or what that is made of.
  virtual AdaptiveStep refuse(std::size_t arm, std::uint64_t seed, const std::string& refusal) = 0;
};

}  // namespace colonnade::host
