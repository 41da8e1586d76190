// How many different allocations there are among several.
#include <algorithm>
#include <map>

#include "colonnade/error.h"
#include "ops.h"

namespace colonnade {

namespace {

using Choices = std::map<std::string, std::string>;  // by site

Choices choices_of(const Table& allocation) {
  Choices choices;
  const Json& sites = allocation.column("site").cells;
  const Json& chosen = allocation.column("choice").cells;
  for (std::size_t row = 0; row < allocation.rows(); ++row) choices[sites[row]] = chosen[row].get<std::string>();
  return choices;
}

// "frozen 13, ia3 2, lora 3".
std::string counted(const Table& allocation) {
  std::vector<std::pair<std::string, int>> counts;
  for (const Json& cell : allocation.column("choice").cells) {
    const auto choice = cell.get<std::string>();
    const auto known =
        std::find_if(counts.begin(), counts.end(), [&](const auto& each) { return each.first == choice; });
    if (known == counts.end()) {
      counts.emplace_back(choice, 1);
    } else {
      ++known->second;
    }
  }
  std::sort(counts.begin(), counts.end());
  std::string text;
  for (const auto& [choice, count] : counts) {
    text += (text.empty() ? "" : ", ") + choice + " " + std::to_string(count);
  }
  return text;
}

}  // namespace

Value compare_allocations(OpContext& context) {
  const auto inputs = context.inputs("of");
  const auto names = context.param<std::vector<std::string>>("names");
  if (names.size() != inputs.size()) {
    throw Error(ErrorKind::usage, "there are " + std::to_string(inputs.size()) + " allocations and " +
                                      std::to_string(names.size()) + " names; allowed: a name for each");
  }
  Table table;
  table.add_column("arm", "text");
  table.add_column("allocation", "integer");
  table.add_column("sites", "text");
  std::map<Choices, std::int64_t> numbers;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Table allocation = table_from(*inputs[i]);
    const auto number = numbers.emplace(choices_of(allocation), static_cast<std::int64_t>(numbers.size()) + 1).first;
    table.add_row({names[i], number->second, counted(allocation)});
  }
  Value value;
  value.fields["by_arm"] = to_field(table);
  value.fields["distinct"] = to_field(Scalar{
      static_cast<double>(numbers.size()), static_cast<std::int64_t>(inputs.size()), {}, "", Better::neither, {}});
  return value;
}

}  // namespace colonnade
