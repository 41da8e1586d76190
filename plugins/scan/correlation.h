// Which variables move together: covariance and correlation of d variables over a stream of samples. Plain C++, no
// LibTorch; float or double samples, all sums in double precision.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace colonnade::scan {

/// Pearson correlations of d variables.
struct Correlation {
  std::size_t variables = 0;
  std::uint64_t samples = 0;
  std::vector<float> rho;                // [d, d], symmetric, in [-1, 1]; 1 on the diagonal but for constants
  std::vector<std::uint32_t> constants;  // variables that did not change but by rounding: all their rho is 0

  float at(std::size_t i, std::size_t j) const { return rho[i * variables + j]; }
};

/// Cost(i, j) = 1 - |rho_ij|, in [0, 1]: what it takes to place variables i and j side by side. [d, d], 0 on the
/// diagonal.
std::vector<float> correlation_costs(const Correlation& correlation);

/// Welford's running mean and co-moments, a block of samples at a time (Chan, Golub, LeVeque 1983): one pass, memory
/// O(d^2), no cancellation where a mean is large against the spread. Blocks are filled in order of arrival whatever the
/// calls to add() were, so how a stream is cut changes no bit of the result. One thread at a time.
class CovarianceAccumulator {
 public:
  explicit CovarianceAccumulator(std::size_t variables);

  /// Takes samples [count, variables], row-major. Throws Error (input) where their number is no multiple of `variables`
  /// or one is not finite, naming variable and sample; nothing of such a call is taken.
  void add(std::span<const float> samples);
  void add(std::span<const double> samples);

  /// Takes in what `other` saw, as if its samples had followed, up to rounding: merging cuts blocks elsewhere. Throws
  /// Error (input) where the numbers of variables differ.
  void merge(const CovarianceAccumulator& other);

  std::size_t variables() const { return variables_; }
  std::uint64_t samples() const { return samples_ + block_rows_; }

  std::vector<double> mean() const;        // [d]
  std::vector<double> covariance() const;  // [d, d], E[(x_i - mean_i)(x_j - mean_j)]: divided by the number of samples
  /// Throws Error (input) for fewer than 2 samples, and naming the variable whose variance is beyond double precision.
  Correlation correlation() const;

 private:
  template <typename Real>
  void take(std::span<const Real> samples);
  void close_block();
  CovarianceAccumulator closed() const;

  std::size_t variables_;
  std::uint64_t samples_ = 0;     // in mean_ and moments_
  std::vector<double> mean_;      // [d]
  std::vector<double> moments_;   // [d, d], sums of products of deviations; the upper triangle is kept
  std::vector<double> least_;     // [d], of all samples: equal to greatest_ where a variable is constant, exactly
  std::vector<double> greatest_;  // [d]
  std::vector<double> block_;     // [up to kBlockRows, d], not yet in mean_ and moments_
  std::size_t block_rows_ = 0;
};

}  // namespace colonnade::scan
