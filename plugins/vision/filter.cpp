#include "filter.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <map>

namespace colonnade::vision {

std::vector<std::int64_t> highest(const std::vector<double>& scores, double above, std::int64_t best) {
  std::vector<std::int64_t> chosen;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] > above) chosen.push_back(static_cast<std::int64_t>(i));
  }
  const auto score = [&](std::int64_t i) { return scores[static_cast<std::size_t>(i)]; };
  std::stable_sort(chosen.begin(), chosen.end(), [&](auto a, auto b) { return score(a) > score(b); });
  if (static_cast<std::int64_t>(chosen.size()) > best) chosen.resize(static_cast<std::size_t>(best));
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

Examples subset(const Examples& data, const std::vector<std::int64_t>& chosen) {
  const Tensor examples = at::tensor(chosen, at::TensorOptions().dtype(at::kLong));
  Examples result = data;
  for (auto& [name, rows] : result.rows) {
    const auto index = result.index.find(name);
    if (index == result.index.end()) {
      rows = rows.index_select(0, examples);
      continue;
    }
    std::map<std::int32_t, std::int32_t> place;  // of an old row among those that stay, in their order
    const Tensor old = index->second.index_select(0, examples).contiguous();
    std::vector<std::int32_t> taken(old.data_ptr<std::int32_t>(), old.data_ptr<std::int32_t>() + old.numel());
    for (const std::int32_t row : taken) place[row] = 0;
    std::vector<std::int64_t> stay;
    for (auto& [row, number] : place) {
      number = static_cast<std::int32_t>(stay.size());
      stay.push_back(row);
    }
    for (std::int32_t& row : taken) row = place.at(row);
    index->second = at::tensor(taken, at::TensorOptions().dtype(at::kInt));
    rows = rows.index_select(0, at::tensor(stay, at::TensorOptions().dtype(at::kLong)));
  }
  return result;
}

}  // namespace colonnade::vision
