#include "kernel/study/check_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "colonnade/error.h"
#include "colonnade/text.h"
#include "kernel/report/report.h"
#include "kernel/store/files.h"
#include "kernel/study/collect.h"
#include "kernel/study/lock.h"

namespace colonnade::host {
namespace {

constexpr std::size_t most_shown = 60;  // bytes of a line
constexpr const char* research_report = "RESEARCH_REPORT.md";

// Without a node's own trace neither its parameters nor whether it is measured is known.
bool has_traces(const ValueSource& source) {
  const std::vector<const NodeRecord*> nodes = reached_nodes(*source.first);
  return std::all_of(nodes.begin(), nodes.end(), [&](const NodeRecord* node) {
    if (!node->failure.empty()) return true;
    const Trace* trace = source.second->find_even_without_blobs(node->key);
    return trace && trace->key_record.contains("params");
  });
}

std::string_view line_of(std::string_view text, int number) {
  for (; number > 1; --number) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  return text.substr(0, text.find('\n'));
}

std::string quoted(std::string_view line) {
  return is_utf8(line) ? fmt::format("'{}'", shortened(std::string(line), most_shown)) : "other bytes";
}

std::optional<ReportDifference> compare(const std::filesystem::path& folder, const std::string& name,
                                        const std::string& expected) {
  const auto found = read_file_if_there(folder / name);
  if (!found) return ReportDifference{name, 0, name + " is not there"};
  if (*found == expected) return std::nullopt;
  const auto same = std::mismatch(found->begin(), found->end(), expected.begin(), expected.end()).first;
  const int line = 1 + static_cast<int>(std::count(found->begin(), same, '\n'));
  return ReportDifference{name, line,
                          fmt::format("{}:{} is not what the values give: {} in the file, {} from the values", name,
                                      line, quoted(line_of(*found, line)), quoted(line_of(expected, line)))};
}

// How the run's report speaks of figures depends on whether they were to be drawn, and could be.
std::map<std::string, std::string> expected_texts(const RunRecord& run, const StudyResults& results) {
  const auto found = read_file_if_there(run.folder.path / research_report);
  std::map<std::string, std::string> usual = report_texts(results, FigureUse::drawn);
  if (results.figures.empty() || !found || *found == usual[research_report]) return usual;
  for (const FigureUse use : {FigureUse::none, FigureUse::tried}) {
    auto other = report_texts(results, use);
    if (*found == other[research_report]) return other;
  }
  return usual;
}

}  // namespace

ReportCheck check_report(const RunRecord& run, const std::vector<ValueSource>& sources, const Catalogue& catalogue) {
  ReportCheck check;
  if (!run.history.finished) {
    check.skipped = "the run has not finished, so it has no report yet";
    return check;
  }
  check.skipped = "not all values of the run are kept, and not all could be evaluated again";
  for (const ValueSource& source : sources) {
    if (!has_traces(source)) continue;
    try {
      const StudyResults results = collect_results(*source.first, run.lock, lock_id(run.lock), *source.second,
                                                   catalogue, stored_fields(*source.second));
      for (const auto& [name, text] : expected_texts(run, results)) {
        if (auto difference = compare(run.folder.path, name, text)) check.differences.push_back(std::move(*difference));
      }
      check.skipped.clear();
      return check;
    } catch (const Error& error) {
      check.skipped = error.what();
    }
  }
  return check;
}

}  // namespace colonnade::host
