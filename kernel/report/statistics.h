#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace colonnade::host {

// Statistics of small samples of runs. Every function takes plain numbers; NaN among them is the caller's to exclude.

struct Interval {
  double low = 0, high = 0;
};

// Mean, standard deviation (n - 1) and the two-sided interval of the mean by Student's t. One number has no interval.
struct Summary {
  std::size_t n = 0;
  double mean = 0, deviation = 0;
  std::optional<Interval> interval;
};
Summary summarise(const std::vector<double>& numbers, double confidence = 0.95);

// The comparison of paired samples (same seeds, in order): differences `after` - `before`.
struct PairedComparison {
  std::size_t n = 0;
  double mean_difference = 0;
  std::optional<Interval> interval;  // of the mean difference, by t
  std::optional<double> t_p;         // paired t-test, two-sided; assumes normal differences
  double wilcoxon_p = 1;  // signed ranks, two-sided, exact; differences of zero are dropped, ties share their mean rank
  double sign_flip_p = 1;   // exact permutation of signs, two-sided, on the mean
  double attainable_p = 1;  // the least that it could be with n pairs: 2 / 2^n, or one among the patterns drawn
  // d_z = mean / deviation of the differences, times Hedges' correction J(m) = gamma(m/2) / (sqrt(m/2) gamma((m-1)/2))
  // with m = n - 1 (Hedges, "Distribution theory for Glass's estimator of effect size", 1981). From three pairs on.
  std::optional<double> effect;
  double cliffs_delta = 0;  // P(after > before) - P(after < before), over all pairs of the two samples
};
// Up to 20 pairs are enumerated exactly; more use 100,000 sign patterns drawn by counter-based random numbers.
PairedComparison compare_paired(const std::vector<double>& before, const std::vector<double>& after);

// The interval of the mean difference by the bias-corrected and accelerated bootstrap (Efron, "Better bootstrap
// confidence intervals", 1987): seeds are drawn with replacement, within each its examples. `differences` holds one
// list a seed, of differences by example, or of the one difference where there are no examples. Bias from the share of
// resamples below the mean, acceleration from the jackknife over seeds. Nothing for fewer than two seeds or where all
// resamples agree.
std::optional<Interval> bootstrap_interval(const std::vector<std::vector<double>>& differences,
                                           double confidence = 0.95, std::size_t resamples = 1000);

// Holm's step-down adjustment, in the order given.
std::vector<double> holm(const std::vector<double>& p_values);

// One effect of a two-level factorial: a factor, or factors joined by "×".
struct Effect {
  std::string name;
  std::vector<std::string> factors;
  Summary size;  // over seeds: mean over cells where the product of levels is +1, minus where it is -1
};
// A cell of a complete 2^k design: levels by factor, and one number a seed (the same seeds, in order, in every cell).
struct Cell {
  std::map<std::string, bool> levels;
  std::vector<double> by_seed;
};
// Main effects first, then interactions of two, three, ... Throws Error(usage) unless every combination is there
// exactly once and all have the same number of seeds. Source: Box, Hunter and Hunter, Statistics for Experimenters,
// chapter 5 (an interaction is half the difference of the conditional effects, as main effects are means of conditional
// ones).
std::vector<Effect> factorial_effects(const std::vector<std::string>& factors, const std::vector<Cell>& cells);

// How much one factor of many explains: arms grouped by its levels, one number an arm.
struct LevelImpact {
  double explained = 0;  // eta squared: the share of the variance between arms that lies between levels
  double p = 1;  // arms permuted over levels, as large a share or larger; up to 20,000 permutations drawn by counter
  double attainable_p = 1;  // of the largest share among those permutations
};
// Nothing unless there are two levels, one with two arms, and the numbers differ.
std::optional<LevelImpact> level_impact(const std::vector<std::vector<double>>& by_level);

}  // namespace colonnade::host
