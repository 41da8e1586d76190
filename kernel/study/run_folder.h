#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kernel/study/lock.h"

namespace colonnade::host {

// Where things lie in a run's folder, runs/STUDY-DATE-ID. The id is the lock's, so the same study finds its run again.
struct RunFolder {
  std::filesystem::path path;

  std::string name() const { return path.filename().string(); }
  std::string id() const;
  std::filesystem::path lock() const { return path / "lock.json"; }
  std::filesystem::path journal() const { return path / "journal.jsonl"; }
  std::filesystem::path study() const { return path / "study"; }
  std::filesystem::path logs() const { return path / "logs"; }
};

// STUDY-DATE-ID: the name of the folder that a run of this lock gets, made at that time (Unix seconds); and whether a
// name could be one.
std::string run_name(const std::string& study, std::int64_t made, const std::string& lock_id);
bool is_run_name(const std::string& name);

// The run of this lock, if there is one.
std::optional<RunFolder> find_run(const std::filesystem::path& runs, const std::string& lock_id);

// The folder of the lock's run, found or made (today's date, the study's name).
RunFolder find_or_make_run(const std::filesystem::path& runs, const std::string& study_name,
                           const std::string& lock_id);

// Writes lock and copies of the sources and study.toml, whatever of them is not there. Returns a line for each file
// that was there with other bytes.
std::vector<std::string> fill_run_folder(const RunFolder& run, const StudyLock& lock,
                                         const std::filesystem::path& settings);

// All runs, oldest first.
std::vector<RunFolder> all_runs(const std::filesystem::path& runs);

// The run that a person means: a folder, a name, an id, or a study's name or "last" for the newest. Error(usage) with
// the nearest name, or naming those that match alike.
RunFolder resolve_run(const std::filesystem::path& runs, const std::string& name);

}  // namespace colonnade::host
