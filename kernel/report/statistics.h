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
  std::optional<Interval> interval;     // t
  std::optional<double> t_p;            // paired t-test, two-sided; assumes normal differences
  double sign_flip_p = 1;               // exact permutation of signs, two-sided, on the mean
  double attainable_p = 1;              // the least that it could be with n pairs: 2 / 2^n
  std::optional<double> effect;         // d_z with Hedges' correction
  double cliffs_delta = 0;              // P(after > before) - P(after < before), over all pairs of the two samples
};
// Up to 20 pairs are enumerated exactly; more use 1,000,000 sign patterns drawn by counter-based random numbers.
PairedComparison compare_paired(const std::vector<double>& before, const std::vector<double>& after);

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
// Main effects first, then interactions of two, three, ... Throws Error(usage) unless every combination is there exactly once.
// Source: Box, Hunter and Hunter, Statistics for Experimenters, chapter 5 (an interaction is half the difference of the conditional
// effects, as main effects are means of conditional ones).
std::vector<Effect> factorial_effects(const std::vector<std::string>& factors, const std::vector<Cell>& cells);

}  // namespace colonnade::host
