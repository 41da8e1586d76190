#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "colonnade/json.h"

namespace colonnade::host {

// A table for people: columns as wide as their cells, numbers flush right.
class ScreenTable {
 public:
  explicit ScreenTable(std::vector<std::string> headings);
  void add(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }
  std::string text() const;  // ends in a line break

 private:
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::string> headings_;
};

// To stdout and stderr. A reader that goes away, or a full disk, is no reason to stop: `run_command_line` looks at the
// end.
void write_out(std::string_view text);
void write_error(std::string_view text);
template <typename... Arguments>
void say(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  write_out(fmt::format(format, std::forward<Arguments>(arguments)...));
}
template <typename... Arguments>
void say_error(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  write_error(fmt::format(format, std::forward<Arguments>(arguments)...));
}

void print_json(const Json& document);
std::string human_time(std::int64_t unix_seconds);            // local, to the minute
std::string short_text(const Json& value, std::size_t most);  // one line, cut with "..."
std::string short_number(double value);

}  // namespace colonnade::host
