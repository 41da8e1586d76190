#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace colonnade {

// Who gets which adapter: a rule on names and numbers, without tensors.

enum class Choice { strong, light, frozen };

enum class Policy {
  three_way,   // of the tuned share the top gets the strong recipe, the rest the light one; all others are frozen
  rest_light,  // the top gets the strong recipe, all others the light one
  uniform_strong,
  uniform_light,
  strong_only_on  // the strong recipe on the sites where it may stand, nothing elsewhere
};

enum class Unit { site, layer };

struct Candidate {
  std::string site;
  int layer = -1;  // -1: outside the layers
  double importance = 0;
  bool scored = true;       // has an importance; unscored ones are frozen where the policy ranks
  bool strong_fits = true;  // the strong recipe may stand here
};

struct Allotted {
  std::string site;
  int layer = -1;
  double importance = 0;
  bool scored = true;
  Choice choice = Choice::frozen;
  std::string reason;  // "rank 2 of 14", ...
};

struct AllocationRule {
  Policy policy = Policy::three_way;
  Unit unit = Unit::site;
  double application_ratio = 0.3;     // share of the ranked units that is tuned
  double importance_threshold = 0.5;  // share of the tuned units (rest_light: of all) that gets the strong recipe
};

bool ranks(Policy policy);

// Half up: 1.5 of 5 units is 2.
std::int64_t rounded_share(double share, std::int64_t of);

// Allots in the order of `candidates`. Units are sites, or layers scored by the mean of their sites (what lies outside
// the layers makes one unit); they are ranked by importance, equal ones in the order they are given. Where the strong
// recipe was meant but does not fit, the light one stands in (three_way, rest_light) or nothing does.
std::vector<Allotted> allot(const std::vector<Candidate>& candidates, const AllocationRule& rule);

}  // namespace colonnade
