#include "kernel/report/sharing_section.h"

#include <fmt/format.h>

#include "kernel/report/markdown_text.h"
#include "kernel/report/tables.h"

namespace colonnade::host {
namespace {

SharingRow total_of(const SharingResult& sharing) {
  SharingRow total;
  total.op = "all";
  for (const SharingRow& row : sharing.rows) {
    total.alone += row.alone;
    total.shared += row.shared;
    total.seconds_alone += row.seconds_alone;
    total.seconds_shared += row.seconds_shared;
  }
  return total;
}

std::string seconds(double value) {
  return fmt::format("{:.2f}", value);
}

}  // namespace

std::string sharing_section(const SharingResult& sharing, bool measured) {
  const SharingRow total = total_of(sharing);
  const std::string beyond =
      sharing.beyond.empty() ? "" : fmt::format(", beyond what {} needs", code_span(sharing.beyond));
  std::string out = fmt::format("{} arms{}. ", sharing.arms.size(), beyond);
  TextTable table;
  if (measured) {
    out += fmt::format(
        "One by one their evaluations take {} s, with what they share evaluated once {} s: the sum of what each took a "
        "worker of this run, or the run that it was found from, one after the other.\n\n",
        seconds(total.seconds_alone), seconds(total.seconds_shared));
    table.header = {"op", "one by one (s)", "shared (s)"};
  } else {
    out += fmt::format(
        "One by one they are {} evaluations, with what they share evaluated once {}. Questions of adaptive arms count "
        "on both sides.\n\n",
        total.alone, total.shared);
    table.header = {"op", "one by one", "shared"};
  }
  std::vector<SharingRow> rows = sharing.rows;
  rows.push_back(total);
  for (const SharingRow& row : rows) {
    if (measured) {
      table.rows.push_back({row.op, seconds(row.seconds_alone), seconds(row.seconds_shared)});
    } else {
      table.rows.push_back({row.op, std::to_string(row.alone), std::to_string(row.shared)});
    }
  }
  return out + as_markdown(table) + "\n";
}

}  // namespace colonnade::host
