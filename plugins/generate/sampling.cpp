#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "colonnade/error.h"

namespace colonnade {

namespace {

// Tokens by their logits, the likeliest first, equal ones by number; no more of them are sorted than are asked for.
class Ranking {
 public:
  struct Candidate {
    double logit;
    std::int64_t token;
  };

  explicit Ranking(std::span<const double> logits) {
    order_.reserve(logits.size());
    for (const double logit : logits) order_.push_back({logit, std::ssize(order_)});
  }

  const Candidate& operator[](std::size_t place) {
    while (place >= sorted_) sort_more();
    return order_[place];
  }

 private:
  void sort_more() {
    constexpr std::size_t kFirst = 256, kGrowth = 8;
    const auto likelier = [](const Candidate& a, const Candidate& b) {
      return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
    };
    const std::size_t end = std::min(order_.size(), std::max(kFirst, sorted_ * kGrowth));
    const auto place = [this](std::size_t i) { return order_.begin() + static_cast<std::ptrdiff_t>(i); };
    if (end < order_.size()) std::nth_element(place(sorted_), place(end), order_.end(), likelier);
    std::sort(place(sorted_), place(end), likelier);
    sorted_ = end;
  }

  std::vector<Candidate> order_;
  std::size_t sorted_ = 0;
};

}  // namespace

std::int64_t choose_token(std::span<const double> logits, const Sampling& sampling, double uniform) {
  if (!std::all_of(logits.begin(), logits.end(), [](double logit) { return std::isfinite(logit); })) {
    throw Error(ErrorKind::input,
                "the model's logits are not finite; its weights hold a NaN or an infinity, or it diverged");
  }
  const auto highest = std::max_element(logits.begin(), logits.end());  // the first of equals
  if (sampling.temperature == 0) return highest - logits.begin();

  Ranking ranking(logits);
  const auto weight = [&](double logit) { return std::exp((logit - *highest) / sampling.temperature); };
  const auto weight_at = [&](std::size_t place) { return weight(ranking[place].logit); };
  std::size_t kept = logits.size();
  double total = 0;
  if (sampling.top_k > 0 && sampling.top_k < std::ssize(logits)) {
    kept = static_cast<std::size_t>(sampling.top_k);
    for (std::size_t place = 0; place < kept; ++place) total += weight_at(place);
  } else {
    for (const double logit : logits) total += weight(logit);
  }
  if (sampling.top_p < 1) {
    double held = 0;
    std::size_t count = 0;
    while (count < kept && held < sampling.top_p * total) held += weight_at(count++);
    kept = count;
    total = held;
  }
  double cumulated = 0;
  for (std::size_t place = 0; place < kept; ++place) {
    cumulated += weight_at(place);
    if (cumulated > uniform * total) return ranking[place].token;
  }
  return ranking[kept - 1].token;  // the sum in another order was larger by its rounding
}

}  // namespace colonnade
