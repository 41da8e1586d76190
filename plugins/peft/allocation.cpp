#include "allocation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace colonnade {

namespace {

struct RankedUnit {
  std::vector<std::size_t> members;  // indices of candidates
  double importance = 0;
  std::size_t rank = 0;
};

// Units that have an importance; a layer's is the mean of its scored sites'.
std::vector<RankedUnit> make_units(const std::vector<Candidate>& candidates, Unit unit) {
  std::vector<RankedUnit> units;
  std::vector<int> layers;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const auto known = std::find(layers.begin(), layers.end(), candidates[i].layer);
    if (unit == Unit::layer && known != layers.end()) {
      units[static_cast<std::size_t>(known - layers.begin())].members.push_back(i);
      continue;
    }
    units.push_back({{i}, 0, 0});
    layers.push_back(candidates[i].layer);
  }
  for (RankedUnit& each : units) {
    double scored = 0;
    for (const std::size_t member : each.members) {
      if (!candidates[member].scored) continue;
      each.importance += candidates[member].importance;
      ++scored;
    }
    if (scored > 0) each.importance /= scored;
    if (scored == 0) each.members.clear();
  }
  std::erase_if(units, [](const RankedUnit& each) { return each.members.empty(); });
  std::stable_sort(units.begin(), units.end(),
                   [](const RankedUnit& a, const RankedUnit& b) { return a.importance > b.importance; });
  for (std::size_t i = 0; i < units.size(); ++i) units[i].rank = i;
  return units;
}

void give(Allotted& allotted, const Candidate& candidate, Choice wanted, bool light_stands_in,
          const std::string& reason) {
  allotted.choice = wanted;
  allotted.reason = reason;
  if (wanted != Choice::strong || candidate.strong_fits) return;
  allotted.choice = light_stands_in ? Choice::light : Choice::frozen;
  allotted.reason += ", no place for the strong recipe";
}

void allot_ranked(const std::vector<Candidate>& candidates, const AllocationRule& rule, std::vector<Allotted>& result) {
  const auto units = make_units(candidates, rule.unit);
  const auto count = static_cast<std::int64_t>(units.size());
  const bool three_way = rule.policy == Policy::three_way;
  const std::int64_t tuned = three_way ? rounded_share(rule.application_ratio, count) : count;
  const std::int64_t strong = rounded_share(rule.importance_threshold, tuned);
  for (Allotted& allotted : result) allotted.reason = "no importance";
  for (const RankedUnit& unit : units) {
    const auto rank = static_cast<std::int64_t>(unit.rank);
    const Choice wanted = rank < strong ? Choice::strong : rank < tuned ? Choice::light : Choice::frozen;
    const std::string what = rule.unit == Unit::layer ? "layer rank " : "rank ";
    const std::string reason = what + std::to_string(rank + 1) + " of " + std::to_string(count);
    for (const std::size_t member : unit.members) give(result[member], candidates[member], wanted, true, reason);
  }
}

}  // namespace

bool ranks(Policy policy) {
  return policy == Policy::three_way || policy == Policy::rest_light;
}

std::int64_t rounded_share(double share, std::int64_t of) {
  // What a product of decimals lacks to its half through rounding of the inputs must not turn it down.
  constexpr double slack = 1e-9;
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(std::floor(share * static_cast<double>(of) + 0.5 + slack)),
                                  0, of);
}

std::vector<Allotted> allot(const std::vector<Candidate>& candidates, const AllocationRule& rule) {
  std::vector<Allotted> result;
  for (const Candidate& each : candidates)
    result.push_back({each.site, each.layer, each.importance, each.scored, Choice::frozen, ""});
  if (ranks(rule.policy)) {
    allot_ranked(candidates, rule, result);
    return result;
  }
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (rule.policy == Policy::uniform_light) {
      give(result[i], candidates[i], Choice::light, false, "uniform");
    } else if (rule.policy == Policy::uniform_strong) {
      give(result[i], candidates[i], Choice::strong, false, "uniform");
    } else {
      const bool chosen = candidates[i].strong_fits;
      give(result[i], candidates[i], chosen ? Choice::strong : Choice::frozen, false, chosen ? "chosen" : "not chosen");
    }
  }
  return result;
}

}  // namespace colonnade
