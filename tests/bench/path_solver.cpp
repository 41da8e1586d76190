// links: plugin_scan_objects
// What each stage of the path solver reaches, and in how many seconds of one core, by number of variables:
//   path_solver [LARGEST]     sizes 64, 128, ... up to LARGEST, 2048 unless given
// Costs are 1 - |rho| of samples that are drawn, accumulated and correlated as in use. "line": correlation falls along
// a hidden line, so that a good order exists; "factors": variables share causes of falling weight, and none lies in a
// row.

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "colonnade/random.h"
#include "plugins/scan/correlation.h"
#include "plugins/scan/path_solver.h"

namespace {

using namespace colonnade;
using namespace colonnade::scan;

constexpr std::size_t kSmallest = 64;
constexpr std::size_t kLargest = 2048;
constexpr std::size_t kSamples = 1024;
constexpr std::size_t kFactors = 24;
constexpr std::uint64_t kSeed = 2024;

enum class Family { line, factors };

double seconds_of(const std::function<void()>& action) {
  const auto start = std::chrono::steady_clock::now();
  action();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Order shuffled(std::size_t d, const RandomStream& stream) {
  Order order(d);
  for (std::size_t i = 0; i < d; ++i) order[i] = static_cast<std::uint32_t>(i);
  for (std::size_t i = d; i > 1; --i) std::swap(order[i - 1], order[stream.below(i, i)]);
  return order;
}

// An autoregressive walk along the hidden line, seen through noise, which blurs who is next to whom.
void draw_line(const RandomStream& stream, const Order& hidden, std::vector<float>& sample) {
  constexpr double kMemory = 0.9;
  constexpr double kBlur = 0.7;
  double level = stream.normal(0);
  for (std::size_t place = 0; place < hidden.size(); ++place) {
    level = kMemory * level + std::sqrt(1 - kMemory * kMemory) * stream.normal(place + 1);
    sample[hidden[place]] = static_cast<float>(level + kBlur * stream.normal(hidden.size() + 1 + place));
  }
}

void draw_factors(const RandomStream& stream, const std::vector<double>& loads, std::vector<float>& sample) {
  constexpr double kNoise = 0.5;
  double causes[kFactors];
  for (std::size_t k = 0; k < kFactors; ++k) causes[k] = stream.normal(k);
  for (std::size_t i = 0; i < sample.size(); ++i) {
    double value = kNoise * stream.normal(kFactors + i);
    for (std::size_t k = 0; k < kFactors; ++k) value += loads[i * kFactors + k] * causes[k];
    sample[i] = static_cast<float>(value);
  }
}

std::vector<float> drawn_costs(Family family, std::size_t d) {
  const RandomStream stream = RandomStream(kSeed).at(d);
  const Order hidden = shuffled(d, stream.at("hidden"));
  std::vector<double> loads(d * kFactors);
  for (std::size_t i = 0; i < loads.size(); ++i) {
    loads[i] = stream.at("loads").normal(i) / std::sqrt(1.0 + static_cast<double>(i % kFactors));
  }
  CovarianceAccumulator accumulator(d);
  std::vector<float> sample(d);
  for (std::size_t row = 0; row < kSamples; ++row) {
    if (family == Family::line) {
      draw_line(stream.at(row), hidden, sample);
    } else {
      draw_factors(stream.at(row), loads, sample);
    }
    accumulator.add(std::span<const float>(sample));
  }
  return correlation_costs(accumulator.correlation());
}

void print_stage(double cost, double bound, double seconds) {
  std::printf(" %9.2f %+7.2f%% %7.2fs |", cost, 100 * (cost / bound - 1), seconds);
}

void measure(Family family, std::size_t d) {
  std::vector<float> numbers;
  const double correlation_seconds = seconds_of([&] { numbers = drawn_costs(family, d); });
  const CostMatrix costs(numbers, d);
  const RandomStream stream = RandomStream(kSeed).at("annealing");
  const PathOptions options;
  Order unchanged(d);
  for (std::size_t i = 0; i < d; ++i) unchanged[i] = static_cast<std::uint32_t>(i);

  Order nearest;
  Order annealed;
  Order polished;
  LowerBound bound;
  const double nearest_seconds = seconds_of([&] { nearest = nearest_neighbour_path(costs); });
  const double annealed_seconds = seconds_of([&] {
    annealed = annealed_path(
        costs, nearest, [&](std::uint64_t counter) { return stream.bits(counter); }, options);
  });
  const double polished_seconds = seconds_of([&] { polished = two_opt_path(costs, annealed, options); });
  Order local;
  const double local_seconds = seconds_of([&] { local = two_opt_path(costs, nearest, options); });
  const double cost = order_cost(costs, polished);
  const double bound_seconds = seconds_of([&] { bound = path_lower_bound(costs, cost, options); });

  std::printf("%-7s %5zu | %6.2fs | %9.2f |", family == Family::line ? "line" : "factors", d, correlation_seconds,
              order_cost(costs, unchanged));
  print_stage(order_cost(costs, nearest), bound.one_tree, nearest_seconds);
  print_stage(order_cost(costs, local), bound.one_tree, local_seconds);
  print_stage(order_cost(costs, annealed), bound.one_tree, annealed_seconds);
  print_stage(cost, bound.one_tree, polished_seconds);
  std::printf(" %9.2f %9.2f %6.2fs | %6.2fs\n", bound.spanning_tree, bound.one_tree, bound_seconds,
              nearest_seconds + annealed_seconds + polished_seconds + bound_seconds);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const long largest = argc > 1 ? std::strtol(argv[1], nullptr, 10) : static_cast<long>(kLargest);
  if (argc > 2 || largest < static_cast<long>(kSmallest)) {
    std::fprintf(stderr, "usage: path_solver [LARGEST]   sizes from %zu up to LARGEST, %zu unless given\n", kSmallest,
                 kLargest);
    return 2;
  }
  std::printf(
      "cost, how far above the bound, seconds; the last column sums nearest, annealing, its 2-opt and the bound\n");
  std::printf("%-7s %5s | %7s | %9s | %-27s| %-27s| %-27s| %-27s| %-27s | %s\n", "costs", "d", "rho", "before",
              " nearest neighbour", " 2-opt of nearest", " annealing", " 2-opt of annealing", "tree, bound", "sum");
  for (const Family family : {Family::line, Family::factors}) {
    for (std::size_t d = kSmallest; d <= static_cast<std::size_t>(largest); d *= 2) measure(family, d);
  }
  return 0;
}
