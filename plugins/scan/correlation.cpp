#include "correlation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "colonnade/error.h"
#include "colonnade/json.h"

#if defined(__x86_64__)
// Wider lanes for the one hot loop. Each sum is one lane's, in the same order, and no multiply-add is fused, so every
// clone gives the same bits.
#define COLONNADE_WIDE_LANES __attribute__((target_clones("avx2", "default")))
#else
#define COLONNADE_WIDE_LANES
#endif

namespace colonnade::scan {
namespace {

constexpr std::size_t kBlockRows = 128;
// Columns worked on together: a stripe of a block fits the first-level cache, its sums the registers.
constexpr std::size_t kStripe = 32;
// Relative to a variable's largest value: a spread below it is what rounding leaves of none.
constexpr double kRoundingSpread = 8 * std::numeric_limits<double>::epsilon();

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorKind::input, message);
}

template <typename Real>
void require_finite(std::span<const Real> samples, std::size_t variables, std::uint64_t seen) {
  for (std::size_t index = 0; index < samples.size(); ++index) {
    if (std::isfinite(samples[index])) continue;
    refuse("variable " + std::to_string(index % variables) + " is " + std::to_string(samples[index]) + " in sample " +
           std::to_string(seen + index / variables) + "; correlations need finite numbers");
  }
}

// sums[lane] = sum over rows of left[row] * right[row, lane]; both lie kStripe numbers a row.
COLONNADE_WIDE_LANES void sum_products(const double* left, const double* right, std::size_t rows, double* sums) {
  double lanes[kStripe] = {};
  for (std::size_t row = 0; row < rows; ++row) {
    const double factor = left[row * kStripe];
    for (std::size_t lane = 0; lane < kStripe; ++lane) lanes[lane] += factor * right[row * kStripe + lane];
  }
  std::copy(lanes, lanes + kStripe, sums);
}

// Rows [rows, d] as stripes [d / kStripe, rows, kStripe], the last one filled up with zeros.
class Stripes {
 public:
  Stripes(std::size_t rows, std::size_t d) : rows_(rows), numbers_((d + kStripe - 1) / kStripe * kStripe * rows) {}
  double& at(std::size_t row, std::size_t column) { return numbers_[place(row, column)]; }
  const double* from(std::size_t column) const { return numbers_.data() + place(0, column); }

 private:
  std::size_t place(std::size_t row, std::size_t column) const {
    return (column / kStripe * rows_ + row) * kStripe + column % kStripe;
  }

  std::size_t rows_;
  std::vector<double> numbers_;
};

void add_upper_products(const Stripes& stripes, std::size_t rows, std::size_t d, std::vector<double>& moments) {
  double sums[kStripe];
  for (std::size_t first = 0; first < d; first += kStripe) {
    const std::size_t end = std::min(first + kStripe, d);
    for (std::size_t i = 0; i < end; ++i) {
      sum_products(stripes.from(i), stripes.from(first), rows, sums);
      for (std::size_t j = std::max(i, first); j < end; ++j) moments[i * d + j] += sums[j - first];
    }
  }
}

// The share of a group of `joining` samples whose mean differs by 1 from that of the `present` ones, in co-moments.
double between_weight(std::uint64_t present, std::uint64_t joining) {
  const double p = static_cast<double>(present);
  const double j = static_cast<double>(joining);
  return p * j / (p + j);
}

}  // namespace

std::vector<float> correlation_costs(const Correlation& correlation) {
  const std::size_t d = correlation.variables;
  std::vector<float> costs(d * d);
  for (std::size_t index = 0; index < costs.size(); ++index) costs[index] = 1.0F - std::abs(correlation.rho[index]);
  for (std::size_t i = 0; i < d; ++i) costs[i * d + i] = 0;
  return costs;
}

CovarianceAccumulator::CovarianceAccumulator(std::size_t variables)
    : variables_(variables),
      mean_(variables, 0.0),
      moments_(variables * variables, 0.0),
      least_(variables, std::numeric_limits<double>::infinity()),
      greatest_(variables, -std::numeric_limits<double>::infinity()),
      block_(kBlockRows * variables) {}

void CovarianceAccumulator::add(std::span<const float> samples) {
  take(samples);
}
void CovarianceAccumulator::add(std::span<const double> samples) {
  take(samples);
}

template <typename Real>
void CovarianceAccumulator::take(std::span<const Real> samples) {
  if (samples.empty()) return;
  if (variables_ == 0 || samples.size() % variables_ != 0) {
    refuse("samples of " + std::to_string(variables_) + " variables come in multiples of that; found " +
           std::to_string(samples.size()) + " numbers");
  }
  require_finite(samples, variables_, this->samples());
  for (std::size_t start = 0; start < samples.size(); start += variables_) {
    double* row = block_.data() + block_rows_ * variables_;
    for (std::size_t i = 0; i < variables_; ++i) {
      row[i] = static_cast<double>(samples[start + i]);
      least_[i] = std::min(least_[i], row[i]);
      greatest_[i] = std::max(greatest_[i], row[i]);
    }
    if (++block_rows_ == kBlockRows) close_block();
  }
}

void CovarianceAccumulator::close_block() {
  if (block_rows_ == 0) return;
  const std::size_t rows = block_rows_;
  const double joined = static_cast<double>(samples_ + rows);
  const double between = std::sqrt(between_weight(samples_, rows));
  Stripes stripes(rows + 1, variables_);  // the last row stands for what lies between the block's mean and the others'
  for (std::size_t i = 0; i < variables_; ++i) {
    double sum = 0;
    for (std::size_t row = 0; row < rows; ++row) sum += block_[row * variables_ + i];
    const double block_mean = sum / static_cast<double>(rows);
    for (std::size_t row = 0; row < rows; ++row) stripes.at(row, i) = block_[row * variables_ + i] - block_mean;
    const double difference = block_mean - mean_[i];
    stripes.at(rows, i) = between * difference;
    mean_[i] += difference * (static_cast<double>(rows) / joined);
  }
  add_upper_products(stripes, rows + 1, variables_, moments_);
  samples_ += rows;
  block_rows_ = 0;
}

CovarianceAccumulator CovarianceAccumulator::closed() const {
  CovarianceAccumulator copy = *this;
  copy.close_block();
  return copy;
}

void CovarianceAccumulator::merge(const CovarianceAccumulator& other) {
  if (other.variables_ != variables_) {
    refuse("a covariance of " + std::to_string(variables_) + " variables cannot take in one of " +
           std::to_string(other.variables_));
  }
  const CovarianceAccumulator joining = other.closed();
  close_block();
  if (joining.samples_ == 0) return;
  const double weight = between_weight(samples_, joining.samples_);
  const double share = static_cast<double>(joining.samples_) / static_cast<double>(samples_ + joining.samples_);
  std::vector<double> differences(variables_);
  for (std::size_t i = 0; i < variables_; ++i) differences[i] = joining.mean_[i] - mean_[i];
  for (std::size_t i = 0; i < variables_; ++i) {
    for (std::size_t j = i; j < variables_; ++j) {
      const std::size_t place = i * variables_ + j;
      moments_[place] += joining.moments_[place] + weight * differences[i] * differences[j];
    }
    mean_[i] += share * differences[i];
    least_[i] = std::min(least_[i], joining.least_[i]);
    greatest_[i] = std::max(greatest_[i], joining.greatest_[i]);
  }
  samples_ += joining.samples_;
}

std::vector<double> CovarianceAccumulator::mean() const {
  return closed().mean_;
}

std::vector<double> CovarianceAccumulator::covariance() const {
  CovarianceAccumulator all = closed();
  std::vector<double> covariance = std::move(all.moments_);
  const double count = static_cast<double>(std::max<std::uint64_t>(all.samples_, 1));
  for (std::size_t i = 0; i < variables_; ++i) {
    for (std::size_t j = i; j < variables_; ++j) {
      covariance[i * variables_ + j] /= count;
      covariance[j * variables_ + i] = covariance[i * variables_ + j];
    }
  }
  return covariance;
}

Correlation CovarianceAccumulator::correlation() const {
  if (samples() < 2) {
    refuse("a correlation takes at least 2 samples; found " + std::to_string(samples()));
  }
  const std::vector<double> covariances = covariance();
  Correlation result;
  result.variables = variables_;
  result.samples = samples();
  result.rho.assign(variables_ * variables_, 0.0F);
  std::vector<double> inverse_spread(variables_, 0.0);  // 0 stands for a constant
  for (std::size_t i = 0; i < variables_; ++i) {
    const double variance = covariances[i * variables_ + i];
    if (!std::isfinite(variance)) {
      refuse("the variance of variable " + std::to_string(i) + " is beyond double precision; its samples lie between " +
             Json(least_[i]).dump() + " and " + Json(greatest_[i]).dump());
    }
    const double noise = kRoundingSpread * std::max(std::abs(least_[i]), std::abs(greatest_[i]));
    if (least_[i] == greatest_[i] || variance <= noise * noise) {
      result.constants.push_back(static_cast<std::uint32_t>(i));
    } else {
      inverse_spread[i] = 1 / std::sqrt(variance);
    }
  }
  for (std::size_t i = 0; i < variables_; ++i) {
    if (inverse_spread[i] == 0) continue;
    result.rho[i * variables_ + i] = 1.0F;
    for (std::size_t j = i + 1; j < variables_; ++j) {
      const double rho = covariances[i * variables_ + j] * inverse_spread[i] * inverse_spread[j];
      result.rho[i * variables_ + j] = static_cast<float>(std::clamp(rho, -1.0, 1.0));
      result.rho[j * variables_ + i] = result.rho[i * variables_ + j];
    }
  }
  return result;
}

}  // namespace colonnade::scan
