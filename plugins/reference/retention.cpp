#include "retention.h"

#include <cmath>
#include <limits>
#include <numeric>
#include <sstream>

#include "colonnade/error.h"

namespace colonnade {

namespace {

// Two roundings of a sum apart: the value is the mean of its examples, not something else they came with.
constexpr double kRounding = 1e-9;

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

bool is_mean_of_examples(const Scalar& scalar) {
  if (scalar.per_example.size() < 2) return false;
  const double mean = mean_of(scalar.per_example);
  return std::abs(mean - scalar.value) <= kRounding * std::max(std::abs(mean), 1.0);
}

bool can_pair(const Scalar& a, const Scalar& b) {
  return is_mean_of_examples(a) && is_mean_of_examples(b) && a.per_example.size() == b.per_example.size();
}

double standard_error(const std::vector<double>& values) {
  const double mean = mean_of(values), n = static_cast<double>(values.size());
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / (n - 1) / n);
}

/// a_i - b_i for each example.
std::vector<double> differences(const Scalar& a, const Scalar& b) {
  std::vector<double> result(a.per_example.size());
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = a.per_example[i] - b.per_example[i];
  return result;
}

std::optional<double> error_of_difference(const Scalar& a, const Scalar& b) {
  if (can_pair(a, b)) return standard_error(differences(a, b));
  if (!a.standard_error || !b.standard_error) return std::nullopt;
  return std::hypot(*a.standard_error, *b.standard_error);
}

/// To first order; its mean is the ratio itself.
std::vector<double> share_by_example(const std::vector<double>& above, const std::vector<double>& below, double ratio) {
  const double whole = mean_of(below);
  std::vector<double> result(above.size());
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = ratio + (above[i] - ratio * below[i]) / whole;
  return result;
}

Scalar share_scalar(double value, std::int64_t n) {
  Scalar scalar;
  scalar.value = value;
  scalar.n = n;
  scalar.better = Better::higher;
  return scalar;
}

Scalar no_share() {
  return share_scalar(std::numeric_limits<double>::quiet_NaN(), 0);
}

Scalar paired_share(std::int64_t n, double ratio, const std::vector<double>& above, const std::vector<double>& below) {
  Scalar scalar = share_scalar(ratio, n);
  scalar.per_example = share_by_example(above, below, ratio);
  scalar.standard_error = standard_error(scalar.per_example);
  return scalar;
}

/// Of (c - b) / (t - b), whose derivatives are 1, -r and r - 1 over the gain.
Scalar independent_share(const Scalar& compressed, const Scalar& base, const Scalar& tuned, double ratio) {
  Scalar scalar = share_scalar(ratio, compressed.n);
  if (!compressed.standard_error || !base.standard_error || !tuned.standard_error) return scalar;
  scalar.standard_error =
      std::hypot(*compressed.standard_error, ratio * *tuned.standard_error, (1 - ratio) * *base.standard_error) /
      std::abs(tuned.value - base.value);
  return scalar;
}

/// Of c / t, which says how good the compressed model is only where more is better from nothing up.
Scalar ratio_to(const Scalar& compressed, const Scalar& tuned, bool paired) {
  if (!(std::abs(tuned.value) > 0)) return no_share();
  const double ratio = compressed.value / tuned.value;
  Scalar scalar = paired ? paired_share(compressed.n, ratio, compressed.per_example, tuned.per_example)
                         : share_scalar(ratio, compressed.n);
  if (!paired && compressed.standard_error && tuned.standard_error) {
    scalar.standard_error =
        std::hypot(*compressed.standard_error, ratio * *tuned.standard_error) / std::abs(tuned.value);
  }
  scalar.better = tuned.better;
  return scalar;
}

void require_same_metric(const Scalar& a, const Scalar& b, const std::string& role) {
  if (a.unit == b.unit && a.better == b.better && a.n == b.n) return;
  throw Error(ErrorKind::input, "'" + role + "' measures something else: n = " + std::to_string(b.n) + ", unit '" +
                                    b.unit + "', where the first input has n = " + std::to_string(a.n) + ", unit '" +
                                    a.unit + "'; it is to be the same metric on the same data");
}

std::string why_undefined(const Retention& found, double least_errors) {
  std::ostringstream text;
  if (!std::isfinite(found.gain)) return "a metric is not a finite number";
  if (found.gain <= 0) {
    text << "tuning gained nothing: " << found.gain;
  } else if (!found.error) {
    text << "the gain of " << found.gain << " has no standard error to be held against";
  } else if (found.gain <= least_errors * *found.error) {
    text << "the gain of " << found.gain << " is " << found.gain / *found.error << " standard errors; more than "
         << least_errors << " are needed for a share of it to mean anything";
  }
  return text.str();
}

}  // namespace

Retention find_retention(const Scalar& compressed, const Scalar& base, const Scalar& tuned, double least_errors) {
  require_same_metric(compressed, base, "base");
  require_same_metric(compressed, tuned, "tuned");
  if (compressed.better == Better::neither) {
    throw Error(ErrorKind::input, "of this metric neither more nor less is better, so it has no gain to retain");
  }
  Retention found;
  const double change = tuned.value - base.value;
  found.gain = compressed.better == Better::higher ? change : -change;
  found.error = error_of_difference(tuned, base);
  found.paired = can_pair(compressed, base) && can_pair(tuned, base);
  found.undefined = std::isfinite(compressed.value) ? why_undefined(found, least_errors)
                                                    : "the compressed model's metric is not a finite number";
  if (!found.undefined.empty()) {
    found.share = no_share();
    found.of_tuned = no_share();
    return found;
  }
  const double ratio = (compressed.value - base.value) / change;
  found.share = found.paired
                    ? paired_share(compressed.n, ratio, differences(compressed, base), differences(tuned, base))
                    : independent_share(compressed, base, tuned, ratio);
  found.of_tuned = ratio_to(compressed, tuned, found.paired);
  return found;
}

Scalar find_drift(const Scalar& now, const Scalar& before) {
  require_same_metric(now, before, "before");
  Scalar drift;
  drift.value = now.value - before.value;
  drift.n = now.n;
  drift.unit = now.unit;
  drift.better = now.better;
  drift.standard_error = error_of_difference(now, before);
  if (can_pair(now, before)) drift.per_example = differences(now, before);
  return drift;
}

}  // namespace colonnade
