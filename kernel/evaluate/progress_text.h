#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace colonnade::host {

// How far one running node is.
struct NodeProgress {
  std::string name;
  double seconds = 0;  // since it started
  std::int64_t done = 0, total = 0;
  double rate = 0;  // units a second, lately; 0 unknown
  std::string unit;
  std::vector<std::pair<std::string, double>> metrics;
};

// "[######....]", `width` columns in all.
std::string bar(double share, int width);
// One line of at most `width` columns: name, bar, share, remaining time, rate, metrics. Narrow lines have a shorter name
// and bar, and parts are left out from the right.
std::string progress_line(const NodeProgress& progress, int width);
// The line of the study as a whole, its columns under those of the nodes: as many of `parts` as there is room for.
std::string study_line(double share, const std::vector<std::string>& parts, int width);
// How far a node is, in plain words, for a log.
std::string progress_sentence(const NodeProgress& progress);
// Cut to `width` columns, counting characters rather than bytes; control characters become spaces.
std::string fit(const std::string& text, int width);

}  // namespace colonnade::host
