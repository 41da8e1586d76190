#pragma once

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "kernel/report/report.h"
#include "kernel/report/statistics.h"

namespace colonnade::host {

// What declared comparisons, effects and targets come to. Numbers here, words in findings.h; both outputs are made from
// them. `measured` chooses the declarations on measured metrics, which only the measured report may show.

// The declarations of one kind ("comparisons", "sections", ...), none if the study declared no report.
const Json& declarations(const StudyResults& results, const std::string& kind);

enum class Answer { differs, none_shown, underpowered };

struct ArmComparison {
  std::string arm;
  PairedComparison paired;
  std::optional<Interval> interval;  // bootstrapped from six seeds on, by t below
  bool bootstrapped = false, paired_on_examples = false;
  double adjusted_p = 1;  // Holm, over the arms of this comparison
  Answer answer = Answer::none_shown;
};
struct Comparison {
  std::string metric, baseline;
  bool log = false;
  std::vector<ArmComparison> arms;
  std::string problem;           // why there are no arms
  std::size_t seeds_needed = 0;  // for the adjusted sign-flip test to be able to reach the level at all
};
// Seeds that one of both arms lacks, or where a value is not finite, are left out of the pairs.
std::vector<Comparison> comparisons_of(const StudyResults& results, bool measured);

// The literature's "gain over the sum": what all together changed, less the changes of each alone.
struct OverTheSum {
  double together = 0, sum = 0;
};
struct EffectAnalysis {
  std::string metric;
  bool log = false;
  std::vector<Effect> effects;
  std::optional<OverTheSum> over_the_sum;
  std::string problem;  // why there are no effects
};
std::vector<EffectAnalysis> effects_of(const StudyResults& results, bool measured);

struct TargetResult {
  std::string arm;
  double reached = 0;
  bool met = false;
};
struct Target {
  std::string name, metric, as, baseline, note;
  double value = 0;
  bool higher = false;
  std::optional<double> cap;
  bool out_of_reach = false;  // the cap does not come up to the value
  std::string problem;        // why nothing can be held against it, as of a ratio to 0
  std::vector<TargetResult> arms;
};
// Reductions and ratios are of the means over seeds.
std::vector<Target> targets_of(const StudyResults& results, bool measured);

// How far two arms lie apart. `uncertainty` is half the width of the difference's 95 % interval: by t over the seeds
// where these differ, else from the metrics' own standard errors, of which paired examples take off what both share.
enum class UncertaintyOf { unknown, seeds, paired_examples, standard_errors };
struct Distance {
  double difference = 0;
  std::optional<double> uncertainty;
  UncertaintyOf from = UncertaintyOf::unknown;

  bool is_shown() const { return !uncertainty || std::abs(difference) > *uncertainty; }
};
Distance distance_between(const StudyResults& results, const std::string& metric, const std::string& before,
                          const std::string& after);

// Which arms have the best mean of a metric that says which direction is good.
struct BestArm {
  std::string metric;
  bool lower = false;
  std::vector<std::string> arms;  // more than one where their means are the same, but for rounding if they have errors
  Summary best;
  std::string second;  // the best of the others
  Summary runner_up;
  Distance lead;                         // of the runner-up from the best
  std::size_t seeds_won = 0, seeds = 0;  // under how many seeds a single best arm is the best
};
// Metrics in which no two arms differ are left out, and those that are zero by construction where the best or the
// runner-up stands: zero under every seed, without a standard error.
std::vector<BestArm> best_arms(const StudyResults& results, bool measured);

// A factor of the arms' points with the metrics it moves; factors of declared effects are left to those.
struct FactorImpact {
  std::string factor, metric;
  std::vector<std::pair<std::string, Summary>> levels;  // over the means of the arms at that level
  LevelImpact impact;
  double adjusted_p = 1;  // Holm, over the factors of one metric
  Answer answer = Answer::none_shown;
};
std::vector<FactorImpact> factor_impacts(const StudyResults& results, bool measured);

}  // namespace colonnade::host
