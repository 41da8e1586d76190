#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "colonnade/error.h"

namespace colonnade {

std::int64_t choose_token(std::span<const double> logits, const Sampling& sampling, double uniform) {
  if (!std::all_of(logits.begin(), logits.end(), [](double logit) { return std::isfinite(logit); })) {
    throw Error(ErrorKind::input,
                "the model's logits are not finite; its weights hold a NaN or an infinity, or it diverged");
  }
  std::vector<std::int64_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto likelier = [&](std::int64_t a, std::int64_t b) {
    const double first = logits[static_cast<std::size_t>(a)];
    const double second = logits[static_cast<std::size_t>(b)];
    return first != second ? first > second : a < b;
  };
  if (sampling.temperature == 0) return *std::min_element(order.begin(), order.end(), likelier);
  std::sort(order.begin(), order.end(), likelier);
  if (sampling.top_k > 0 && sampling.top_k < std::ssize(order)) order.resize(static_cast<std::size_t>(sampling.top_k));

  const double highest = logits[static_cast<std::size_t>(order.front())];
  std::vector<double> cumulated;
  double total = 0;
  for (const std::int64_t token : order) {
    total += std::exp((logits[static_cast<std::size_t>(token)] - highest) / sampling.temperature);
    cumulated.push_back(total);
  }
  const auto kept = std::lower_bound(cumulated.begin(), cumulated.end(), sampling.top_p * total);
  if (kept != cumulated.end()) cumulated.erase(kept + 1, cumulated.end());
  const auto chosen = std::upper_bound(cumulated.begin(), cumulated.end(), uniform * cumulated.back());
  const auto last = std::ssize(cumulated) - 1;
  return order[static_cast<std::size_t>(std::min(chosen - cumulated.begin(), last))];
}

}  // namespace colonnade
