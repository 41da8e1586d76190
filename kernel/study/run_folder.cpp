#include "kernel/study/run_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <ctime>
#include <system_error>

#include "colonnade/error.h"
#include "kernel/store/files.h"
#include "kernel/store/store.h"
#include "kernel/study/hints.h"

namespace colonnade::host {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t id_digits = 8;
constexpr std::size_t date_digits = 10;
constexpr std::size_t shortest_name = id_digits + 1 + date_digits + 1;  // before them the study's name

std::string day_of(std::time_t time) {
  std::tm parts{};
  ::localtime_r(&time, &parts);
  return fmt::format("{:04}-{:02}-{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday);
}

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
}

std::string as_folder_name(std::string name) {
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !is_plain(c); }, '-');
  if (name.empty() || name.front() == '.') name.insert(0, "study");
  return name;
}

bool is_hexadecimal(const std::string& text) {
  return text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::string study_of(const RunFolder& run) {
  return run.name().substr(0, run.name().size() - shortest_name);
}

// Writes what is absent or differs; true if something else was there.
bool write_if_different(const fs::path& file, const std::string& text) {
  const auto present = read_file_if_there(file);
  if (present && *present == text) return false;
  write_file_atomically(file, text);
  return present.has_value();
}

}  // namespace

bool is_run_name(const std::string& name) {
  return name.size() > shortest_name && name[name.size() - id_digits - 1] == '-' &&
         is_hexadecimal(name.substr(name.size() - id_digits));
}

std::string run_name(const std::string& study, std::int64_t made, const std::string& lock_id) {
  return fmt::format("{}-{}-{}", as_folder_name(study), day_of(made), lock_id);
}

std::string RunFolder::id() const {
  const std::string folder = name();
  return folder.size() < id_digits ? folder : folder.substr(folder.size() - id_digits);
}

std::vector<RunFolder> all_runs(const fs::path& runs) {
  std::vector<std::pair<fs::file_time_type, RunFolder>> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(runs, error)) {
    const RunFolder run{entry.path()};
    if (!entry.is_directory(error) || !is_run_name(run.name())) continue;
    auto time = fs::last_write_time(run.journal(), error);
    if (error) time = fs::file_time_type::min();
    found.emplace_back(time, run);
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first, a.second.path) < std::pair(b.first, b.second.path);
  });
  std::vector<RunFolder> result;
  for (auto& [time, run] : found) result.push_back(std::move(run));
  return result;
}

std::optional<RunFolder> find_run(const fs::path& runs, const std::string& lock_id) {
  std::error_code error;
  std::optional<RunFolder> result;
  for (const auto& entry : fs::directory_iterator(runs, error)) {
    const RunFolder run{entry.path()};
    // Should there be two, every process takes the same one.
    const bool matches = is_run_name(run.name()) && run.id() == lock_id && (!result || run.path < result->path);
    if (matches) result = run;
  }
  return result;
}

RunFolder find_or_make_run(const fs::path& runs, const std::string& study_name, const std::string& lock_id) {
  if (auto run = find_run(runs, lock_id)) return *run;
  RunFolder run{runs / run_name(study_name, std::time(nullptr), lock_id)};
  make_folder(run.path);
  return run;
}

std::vector<std::string> fill_run_folder(const RunFolder& run, const StudyLock& lock, const fs::path& settings) {
  std::vector<std::string> lines;
  const auto put = [&](const fs::path& file, const std::string& text) {
    if (file.has_parent_path()) make_folder(file.parent_path());
    if (write_if_different(file, text)) lines.push_back(fmt::format("{}: was damaged, written anew", file.string()));
  };
  for (const Json& source : lock.document.at("study").at("sources")) {
    put(run.study() / source.at("name").get<std::string>(), source.at("text").get<std::string>());
  }
  // The settings file is for people: settings that count are in the lock, so another edition of it is no damage.
  if (const auto text = read_file_if_there(settings)) {
    if (!fs::exists(run.study() / settings.filename())) put(run.study() / settings.filename(), *text);
  }
  make_folder(run.logs());
  put(run.lock(), lock_text(lock.document));
  return lines;
}

RunFolder resolve_run(const fs::path& runs, const std::string& name) {
  std::error_code error;
  const fs::path as_path = fs::path(name).lexically_normal();
  if (fs::exists(as_path / "lock.json", error) || fs::exists(as_path / "journal.jsonl", error)) {
    fs::path folder = fs::absolute(as_path).lexically_normal();
    if (!folder.has_filename()) folder = folder.parent_path();
    return {folder};
  }
  const std::vector<RunFolder> known = all_runs(runs);
  if (known.empty())
    throw Error(ErrorKind::usage, fmt::format("{}: no such run; {} has none yet", name, runs.string()));
  if (name == "last") return known.back();
  const auto newest = std::find_if(known.rbegin(), known.rend(),
                                   [&](const auto& run) { return run.name() == name || study_of(run) == name; });
  if (newest != known.rend()) return *newest;
  std::vector<RunFolder> matches;
  std::vector<std::string> names = {"last"};
  for (const RunFolder& run : known) {
    if (run.id().starts_with(name)) matches.push_back(run);
    for (const std::string& candidate : {run.name(), run.id(), study_of(run)}) names.push_back(candidate);
  }
  if (matches.size() == 1) return matches.front();
  if (matches.size() > 1) {
    std::vector<std::string> alike;
    for (const RunFolder& run : matches) alike.push_back(run.name());
    throw Error(ErrorKind::usage, fmt::format("{}: several runs match: {}", name, fmt::join(alike, ", ")));
  }
  throw Error(ErrorKind::usage,
              fmt::format("{}: no such run{}", name, then(did_you_mean(name, names), "'colonnade ls' lists them")));
}

}  // namespace colonnade::host
