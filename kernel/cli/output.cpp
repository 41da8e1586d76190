#include "kernel/cli/output.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "colonnade/text.h"

namespace colonnade::host {
namespace {

bool is_number(const std::string& cell) {
  return !cell.empty() && cell.find_first_not_of("0123456789.+-e") == std::string::npos && cell != "-";
}

// Columns, not bytes: continuation bytes of UTF-8 take no room.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string padded(const std::string& cell, std::size_t wanted, bool right) {
  const std::size_t room = wanted - std::min(wanted, width(cell));
  return right ? std::string(room, ' ') + cell : cell + std::string(room, ' ');
}

}  // namespace

ScreenTable::ScreenTable(std::vector<std::string> headings) : headings_(std::move(headings)) {}

void ScreenTable::add(std::vector<std::string> cells) {
  cells.resize(headings_.size());
  rows_.push_back(std::move(cells));
}

std::string ScreenTable::text() const {
  std::vector<std::size_t> widths;
  for (const std::string& heading : headings_) widths.push_back(width(heading));
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::string text;
  const auto line = [&](const std::vector<std::string>& cells, bool heading) {
    std::string written;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      written += (i ? "  " : "") + padded(cells[i], widths[i], !heading && is_number(cells[i]));
    }
    written.erase(written.find_last_not_of(' ') + 1);
    text += written + "\n";
  };
  line(headings_, true);
  for (const auto& row : rows_) line(row, false);
  return text;
}

void write_out(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void write_error(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
}

void print_json(const Json& document) {
  say("{}\n", document.dump(2, ' ', false, Json::error_handler_t::replace));
}

std::string human_time(std::int64_t unix_seconds) {
  if (unix_seconds == 0) return "-";
  const std::time_t time = unix_seconds;
  std::tm parts{};
  ::localtime_r(&time, &parts);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min);
}

std::string short_text(const Json& value, std::size_t most) {
  std::string text = value.is_string() ? value.get<std::string>() : json_text(value);
  std::replace(text.begin(), text.end(), '\n', ' ');
  return shortened(text, most);
}

std::string short_number(double value) {
  return fmt::format("{:.6g}", value);
}

}  // namespace colonnade::host
