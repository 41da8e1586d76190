#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

#include "colonnade/error.h"
#include "colonnade/random.h"
#include "plugins/generate/sampling.h"

namespace colonnade {

namespace {

const std::vector<double> logits = {1.0, 3.0, 2.0, 3.0, -1.0};

// How often each token comes up over an even grid of `uniform`: the probability itself, up to 1/steps.
std::map<std::int64_t, double> shares(const Sampling& sampling) {
  constexpr int steps = 100'000;
  std::map<std::int64_t, double> result;
  for (int i = 0; i < steps; ++i) result[choose_token(logits, sampling, (i + 0.5) / steps)] += 1.0 / steps;
  return result;
}

// softmax(logits / temperature) over `kept`, renormalised: the definition.
std::map<std::int64_t, double> expected(double temperature, const std::vector<std::int64_t>& kept) {
  std::map<std::int64_t, double> result;
  double total = 0;
  for (const std::int64_t token : kept) total += std::exp(logits[static_cast<std::size_t>(token)] / temperature);
  for (const std::int64_t token : kept) {
    result[token] = std::exp(logits[static_cast<std::size_t>(token)] / temperature) / total;
  }
  return result;
}

void check(const Sampling& sampling, const std::vector<std::int64_t>& kept) {
  const auto found = shares(sampling);
  const auto wanted = expected(sampling.temperature, kept);
  REQUIRE(found.size() == wanted.size());
  for (const auto& [token, share] : wanted) CHECK(found.at(token) == Approx(share).margin(2e-5));
}

// The definition by one sort of everything.
std::int64_t slowly(const std::vector<double>& of, const Sampling& sampling, double uniform) {
  std::vector<std::int64_t> order(of.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return of[static_cast<std::size_t>(a)] > of[static_cast<std::size_t>(b)];
  });
  if (sampling.top_k > 0 && sampling.top_k < std::ssize(order)) order.resize(static_cast<std::size_t>(sampling.top_k));
  std::vector<double> cumulated;
  double total = 0;
  for (const std::int64_t token : order) {
    total +=
        std::exp((of[static_cast<std::size_t>(token)] - of[static_cast<std::size_t>(order[0])]) / sampling.temperature);
    cumulated.push_back(total);
  }
  std::size_t kept = 0;
  while (kept + 1 < cumulated.size() && cumulated[kept] < sampling.top_p * total) ++kept;
  std::size_t chosen = 0;
  while (chosen < kept && cumulated[chosen] <= uniform * cumulated[kept]) ++chosen;
  return order[chosen];
}

}  // namespace

TEST_CASE("of many tokens the same are drawn as by sorting all") {
  const RandomStream random(3);
  for (const double spread : {0.01, 1.0, 6.0}) {
    std::vector<double> many(20'000);
    // In steps, so that there are equals.
    for (std::size_t i = 0; i < many.size(); ++i) many[i] = spread * std::round(50 * random.uniform(i)) / 10;
    const std::vector<Sampling> samplings = {{.temperature = 1},
                                             {.temperature = 0.3, .top_p = 0.9},
                                             {.temperature = 2, .top_p = 0.999},
                                             {.temperature = 1, .top_k = 300},
                                             {.temperature = 1, .top_k = 5000, .top_p = 0.5}};
    for (const Sampling& sampling : samplings) {
      for (const double uniform : {0.0, 0.013, 0.37, 0.71, 0.98, 0.9999}) {
        CAPTURE(spread, sampling.temperature, sampling.top_k, sampling.top_p, uniform);
        CHECK(choose_token(many, sampling, uniform) == slowly(many, sampling, uniform));
      }
    }
  }
}

TEST_CASE("tokens come up as often as the softmax says") {
  check({.temperature = 1}, {0, 1, 2, 3, 4});
  check({.temperature = 0.5}, {0, 1, 2, 3, 4});
}

TEST_CASE("top_k keeps the likeliest, equal ones by number") {
  check({.temperature = 1, .top_k = 1}, {1});
  check({.temperature = 1, .top_k = 3}, {1, 3, 2});
  check({.temperature = 2, .top_k = 9}, {0, 1, 2, 3, 4});
}

TEST_CASE("top_p keeps the fewest that hold as much") {
  // Probabilities 0.40, 0.40, 0.15, 0.05, 0.007 of tokens 1, 3, 2, 0, 4.
  check({.temperature = 1, .top_p = 0.3}, {1});
  check({.temperature = 1, .top_p = 0.5}, {1, 3});
  check({.temperature = 1, .top_p = 0.9}, {1, 3, 2});
  // Of the two that top_k leaves, one holds half.
  check({.temperature = 1, .top_k = 2, .top_p = 0.5}, {1});
}

TEST_CASE("temperature 0 takes the likeliest, the first of equals") {
  CHECK(choose_token(logits, {.temperature = 0}, 0.99) == 1);
}

TEST_CASE("logits that are not finite are an error") {
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    const std::vector<double> broken = {0.0, bad};
    CHECK_THROWS_AS(choose_token(broken, {}, 0.5), Error);
  }
}

}  // namespace colonnade
