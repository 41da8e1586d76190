#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "colonnade/json.h"

namespace colonnade::host {

// A table for people: columns as wide as their cells, numbers flush right.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> headings);
  void add(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }
  std::string text() const;  // ends in a line break

 private:
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::string> headings_;
};

void print_json(const Json& document);
std::string human_time(std::int64_t unix_seconds);  // local, to the minute
std::string short_text(const Json& value, std::size_t most);  // one line, cut with "..."
std::string short_number(double value);

}  // namespace colonnade::host
