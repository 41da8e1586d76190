#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "colonnade/random.h"
#include "plugins/scan/correlation.h"
#include "plugins/scan/path_solver.h"
#include "tests/plugins/scan/error_of.h"

using namespace colonnade;
using namespace colonnade::scan;

namespace {

// What sums of d floats may differ by when they are taken in another order.
constexpr double kRounding = 1e-9;

// Symmetric costs, kept with their size.
struct Graph {
  std::size_t d;
  std::vector<float> costs;

  explicit Graph(std::size_t nodes) : d(nodes), costs(nodes * nodes, 0.0F) {}
  void set(std::size_t i, std::size_t j, double cost) {
    costs[i * d + j] = static_cast<float>(cost);
    costs[j * d + i] = static_cast<float>(cost);
  }
  CostMatrix matrix() const { return {costs, d}; }
};

Graph uniform_graph(std::size_t d, std::uint64_t seed) {
  const RandomStream stream(seed);
  Graph graph(d);
  for (std::size_t i = 0; i < d; ++i) {
    for (std::size_t j = 0; j < i; ++j) graph.set(i, j, stream.uniform(i * d + j));
  }
  return graph;
}

// Small whole numbers: many ties.
Graph coarse_graph(std::size_t d, std::uint64_t seed) {
  const RandomStream stream(seed);
  Graph graph(d);
  for (std::size_t i = 0; i < d; ++i) {
    for (std::size_t j = 0; j < i; ++j) graph.set(i, j, static_cast<double>(stream.below(i * d + j, 3)));
  }
  return graph;
}

// 1 - |rho| of variables that share a few causes.
Graph factor_graph(std::size_t d, std::uint64_t seed) {
  constexpr std::size_t kFactors = 12;
  const RandomStream stream(seed);
  std::vector<double> loads(d * kFactors);
  for (std::size_t i = 0; i < d; ++i) {
    double square = 0;
    for (std::size_t k = 0; k < kFactors; ++k) {
      loads[i * kFactors + k] = stream.normal(i * kFactors + k);
      square += loads[i * kFactors + k] * loads[i * kFactors + k];
    }
    for (std::size_t k = 0; k < kFactors; ++k) loads[i * kFactors + k] /= std::sqrt(square);
  }
  Graph graph(d);
  for (std::size_t i = 0; i < d; ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const double* own = loads.data() + i * kFactors;
      const double rho = std::inner_product(own, own + kFactors, loads.data() + j * kFactors, 0.0);
      graph.set(i, j, 1 - std::min(1.0, std::abs(rho)));
    }
  }
  return graph;
}

Order shuffled(std::size_t d, std::uint64_t seed) {
  const RandomStream stream(seed);
  Order order(d);
  std::iota(order.begin(), order.end(), 0U);
  for (std::size_t i = d; i > 1; --i) std::swap(order[i - 1], order[stream.below(i, i)]);
  return order;
}

// Variables along a hidden line, |rho| falling with the distance; `hidden[k]` is the k-th along it.
Graph line_graph(const Order& hidden) {
  Graph graph(hidden.size());
  for (std::size_t i = 0; i < hidden.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      graph.set(hidden[i], hidden[j], 1 - std::exp(-static_cast<double>(i - j) / 6.0));
    }
  }
  return graph;
}

Order forwards(Order order) {
  if (!order.empty() && order.front() > order.back()) std::reverse(order.begin(), order.end());
  return order;
}

double brute_force_cost(const CostMatrix& costs) {
  Order order(costs.size());
  std::iota(order.begin(), order.end(), 0U);
  double least = std::numeric_limits<double>::infinity();
  do {
    least = std::min(least, order_cost(costs, order));
  } while (std::next_permutation(order.begin(), order.end()));
  return least;
}

// Every start, every step over all nodes: what nearest_neighbour_path must equal.
double slow_nearest_neighbour_cost(const CostMatrix& costs) {
  const std::size_t d = costs.size();
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t start = 0; start < d; ++start) {
    std::vector<bool> seen(d, false);
    double cost = 0;
    std::size_t at = start;
    for (std::size_t step = 1; step < d; ++step) {
      seen[at] = true;
      std::size_t next = d;
      for (std::size_t node = 0; node < d; ++node) {
        if (!seen[node] && (next == d || costs(at, node) < costs(at, next))) next = node;
      }
      cost += costs(at, next);
      at = next;
    }
    least = std::min(least, cost);
  }
  return least;
}

RandomBits random_bits(std::uint64_t seed) {
  return [stream = RandomStream(seed)](std::uint64_t counter) { return stream.bits(counter); };
}

}  // namespace

TEST_CASE("The exact path costs what the best of all permutations costs", "[scan]") {
  for (std::size_t d = 1; d <= 8; ++d) {
    for (std::uint64_t seed = 0; seed < 6; ++seed) {
      for (const Graph& graph : {uniform_graph(d, seed), coarse_graph(d, seed), factor_graph(d, seed)}) {
        const auto costs = graph.matrix();
        const double least = brute_force_cost(costs);
        CAPTURE(d, seed);
        CHECK(order_cost(costs, exact_path(costs)) == Approx(least).margin(kRounding));
        const auto solution = solve_path(costs, random_bits(seed));
        CHECK(solution.exact);
        CHECK(solution.cost == Approx(least).margin(kRounding));
        CHECK(solution.bound.one_tree <= least + kRounding);
        CHECK(solution.bound.spanning_tree <= solution.bound.one_tree);
      }
    }
  }
}

TEST_CASE("Heuristics lie between the exact path and their start", "[scan]") {
  for (std::size_t d = 1; d <= 13; ++d) {
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      for (const Graph& graph : {uniform_graph(d, seed), coarse_graph(d, seed)}) {
        const auto costs = graph.matrix();
        const double least = order_cost(costs, exact_path(costs)) - kRounding;
        const Order start = shuffled(d, seed + 50);
        const double start_cost = order_cost(costs, start);
        PathOptions few;
        few.sweeps = 20;
        few.neighbours = seed;
        CAPTURE(d, seed);
        if (d < 5) {
          CHECK(order_cost(costs, two_opt_path(costs, start, few)) <= least + 2 * kRounding);
          CHECK(order_cost(costs, annealed_path(costs, start, random_bits(seed), few)) <= least + 2 * kRounding);
        }
        for (const Order& order : {nearest_neighbour_path(costs), two_opt_path(costs, start, few),
                                   annealed_path(costs, start, random_bits(seed), few)}) {
          CHECK(order_cost(costs, order) >= least);
        }
        CHECK(order_cost(costs, two_opt_path(costs, start, few)) <= start_cost);
        CHECK(order_cost(costs, annealed_path(costs, start, random_bits(seed), few)) <= start_cost);
      }
    }
  }
}

TEST_CASE("Annealing and local search find the exact path of small graphs", "[scan]") {
  std::size_t found = 0;
  constexpr std::size_t kGraphs = 20;
  PathOptions options;
  options.method = PathMethod::annealing;
  for (std::uint64_t seed = 0; seed < kGraphs; ++seed) {
    const Graph graph = uniform_graph(14, seed);
    const auto costs = graph.matrix();
    const double least = order_cost(costs, exact_path(costs));
    const auto solution = solve_path(costs, random_bits(seed), options);
    CHECK_FALSE(solution.exact);
    if (solution.cost <= least + kRounding) ++found;
  }
  CHECK(found >= kGraphs - 2);
}

TEST_CASE("The nearest neighbour's path is the best over all starts", "[scan]") {
  for (const std::size_t d : {2U, 5U, 40U, 66U, 150U}) {
    for (const Graph& graph : {uniform_graph(d, d), coarse_graph(d, d), factor_graph(d, d)}) {
      const auto costs = graph.matrix();
      CAPTURE(d);
      CHECK(order_cost(costs, nearest_neighbour_path(costs)) ==
            Approx(slow_nearest_neighbour_cost(costs)).margin(kRounding));
    }
  }
}

TEST_CASE("A local optimum has no better 2-opt or Or-opt neighbour", "[scan]") {
  constexpr std::size_t d = 30;
  const Graph graph = uniform_graph(d, 77);
  const auto costs = graph.matrix();
  PathOptions all_neighbours;
  all_neighbours.neighbours = d;
  const Order order = two_opt_path(costs, shuffled(d, 3), all_neighbours);
  const double cost = order_cost(costs, order) - kRounding;
  for (std::size_t first = 0; first < d; ++first) {
    for (std::size_t end = first + 1; end <= d; ++end) {
      Order reversed = order;
      std::reverse(reversed.begin() + static_cast<std::ptrdiff_t>(first),
                   reversed.begin() + static_cast<std::ptrdiff_t>(end));
      CHECK(order_cost(costs, reversed) >= cost);
    }
  }
  for (std::size_t length = 1; length <= 3; ++length) {
    for (std::size_t first = 0; first + length <= d; ++first) {
      const auto begin = order.begin() + static_cast<std::ptrdiff_t>(first);
      const Order stretch(begin, begin + static_cast<std::ptrdiff_t>(length));
      Order rest(order.begin(), begin);
      rest.insert(rest.end(), begin + static_cast<std::ptrdiff_t>(length), order.end());
      for (std::size_t place = 0; place <= rest.size(); ++place) {
        Order carried = rest;
        carried.insert(carried.begin() + static_cast<std::ptrdiff_t>(place), stretch.begin(), stretch.end());
        CHECK(order_cost(costs, carried) >= cost);
        carried = rest;
        carried.insert(carried.begin() + static_cast<std::ptrdiff_t>(place), stretch.rbegin(), stretch.rend());
        CHECK(order_cost(costs, carried) >= cost);
      }
    }
  }
}

TEST_CASE("A planted order is recovered", "[scan]") {
  for (const std::size_t d : {12U, 40U, 200U}) {
    const Order hidden = forwards(shuffled(d, d));
    const Graph graph = line_graph(hidden);
    const auto solution = solve_path(graph.matrix(), random_bits(1));
    CAPTURE(d);
    CHECK(solution.order == hidden);
    CHECK(solution.bound.one_tree == Approx(solution.cost).epsilon(1e-6));  // on a line the tree is the path
  }
}

TEST_CASE("A planted order is recovered from samples", "[scan]") {
  // Neighbours along the line share the innovations of a moving sum; rho falls linearly to 0 over `kWidth` places.
  constexpr std::size_t d = 48;
  constexpr std::size_t kWidth = 8;
  constexpr std::size_t kRows = 4000;
  const Order hidden = forwards(shuffled(d, 11));
  const RandomStream stream(31);
  std::vector<float> samples(kRows * d);
  for (std::size_t row = 0; row < kRows; ++row) {
    for (std::size_t place = 0; place < d; ++place) {
      double sum = 0;
      for (std::size_t k = 0; k < kWidth; ++k) sum += stream.normal(row * (d + kWidth) + place + k);
      const double sign = place % 3 == 0 ? -1.0 : 1.0;  // only |rho| counts
      samples[row * d + hidden[place]] = static_cast<float>(sign * sum);
    }
  }
  CovarianceAccumulator accumulator(d);
  accumulator.add(std::span<const float>(samples));
  const auto costs = correlation_costs(accumulator.correlation());
  CHECK(solve_path(CostMatrix(costs, d), random_bits(2)).order == hidden);
}

TEST_CASE("Stages improve one another and stay above the bound", "[scan]") {
  for (const std::size_t d : {17U, 64U, 256U}) {
    for (const Graph& graph : {uniform_graph(d, 4), coarse_graph(d, 4), factor_graph(d, 4)}) {
      PathOptions options;
      options.sweeps = 200;
      const auto costs = graph.matrix();
      const auto solution = solve_path(costs, random_bits(9), options);
      CAPTURE(d);
      CHECK(solution.cost == order_cost(costs, solution.order));
      CHECK(solution.cost == solution.cost_two_opt);
      CHECK(solution.cost_two_opt <= solution.cost_annealing);
      CHECK(solution.cost_annealing <= solution.cost_nearest_neighbour);
      CHECK(solution.cost_nearest_neighbour <= solution.cost_before);
      CHECK(solution.bound.spanning_tree <= solution.bound.one_tree);
      CHECK(solution.bound.one_tree <= solution.cost);
    }
  }
}

TEST_CASE("Good paths of correlated variables lie near the bound", "[scan]") {
  const Graph graph = factor_graph(200, 6);
  const auto solution = solve_path(graph.matrix(), random_bits(3));
  CHECK(solution.cost < 1.04 * solution.bound.one_tree);
  CHECK(solution.bound.one_tree > 1.02 * solution.bound.spanning_tree);
  CHECK(solution.cost < 0.98 * solution.cost_nearest_neighbour);
}

TEST_CASE("2048 variables are ordered", "[scan]") {
  const Graph graph = factor_graph(2048, 1);
  PathOptions options;
  options.sweeps = 100;
  options.bound_iterations = 10;
  const auto solution = solve_path(graph.matrix(), random_bits(5), options);
  CHECK(solution.cost < 0.6 * solution.cost_before);
  CHECK(solution.cost < solution.cost_nearest_neighbour);
  CHECK(solution.bound.one_tree <= solution.cost);
  CHECK(solution.cost == order_cost(graph.matrix(), solution.order));
}

TEST_CASE("The same random numbers give the same path, others another", "[scan]") {
  PathOptions options;
  options.sweeps = 30;
  for (const Graph& graph : {uniform_graph(90, 2), coarse_graph(90, 2)}) {
    const auto costs = graph.matrix();
    const Order start = shuffled(90, 8);
    const Order once = annealed_path(costs, start, random_bits(7), options);
    CHECK(annealed_path(costs, start, random_bits(7), options) == once);
    CHECK(annealed_path(costs, start, random_bits(8), options) != once);
    CHECK(solve_path(costs, random_bits(7), options).order == solve_path(costs, random_bits(7), options).order);
  }
}

TEST_CASE("Each method runs its own stages", "[scan]") {
  const Graph graph = factor_graph(60, 12);
  const auto costs = graph.matrix();
  PathOptions options;
  options.method = PathMethod::nearest_neighbour;
  const auto nearest = solve_path(costs, random_bits(1), options);
  CHECK(nearest.order == nearest_neighbour_path(costs));
  CHECK(nearest.cost == nearest.cost_two_opt);
  options.method = PathMethod::two_opt;
  const auto local = solve_path(costs, random_bits(1), options);
  CHECK(local.cost_annealing == local.cost_nearest_neighbour);
  CHECK(local.order == two_opt_path(costs, nearest.order, options));
  options.method = PathMethod::annealing;
  const auto annealed = solve_path(costs, random_bits(1), options);
  CHECK(annealed.cost == annealed.cost_annealing);
  CHECK(annealed.order == annealed_path(costs, nearest.order, random_bits(1), options));
  options.method = PathMethod::exact;
  CHECK(error_of([&] { solve_path(costs, random_bits(1), options); }) ==
        "the exact path is found for at most 16 variables; found 60; use another solver");
}

TEST_CASE("What cannot be improved is left alone", "[scan]") {
  for (const std::size_t d : {0U, 1U, 2U, 3U, 5U, 16U, 17U, 100U}) {
    Graph graph(d);
    for (std::size_t i = 0; i < d; ++i) {
      for (std::size_t j = 0; j < i; ++j) graph.set(i, j, 1.0);
    }
    Order unchanged(d);
    std::iota(unchanged.begin(), unchanged.end(), 0U);
    const auto solution = solve_path(graph.matrix(), random_bits(1));
    CAPTURE(d);
    CHECK(solution.order == unchanged);
    CHECK(solution.bound.one_tree == Approx(solution.cost).margin(kRounding));
  }
}

TEST_CASE("Costs and orders that make no sense are refused", "[scan]") {
  Graph graph = uniform_graph(4, 1);
  CHECK(error_of([&] { CostMatrix(graph.costs, 5); }) == "a cost matrix of 5 variables has 25 numbers; found 16");
  const auto costs = uniform_graph(4, 1);
  CHECK(error_of([&] {
          order_cost(costs.matrix(), Order{0, 1, 2});
        }) == "an order of 4 variables has as many places; found 3");
  CHECK(error_of([&] {
          two_opt_path(costs.matrix(), Order{0, 1, 2, 4});
        }) == "an order of 4 variables names variable 4; they are counted from 0");
  CHECK(error_of([&] {
          annealed_path(costs.matrix(), Order{0, 1, 2, 2}, random_bits(1));
        }) == "an order names variable 2 twice");
  graph.set(1, 3, std::numeric_limits<double>::quiet_NaN());
  CHECK(error_of([&] { graph.matrix(); }) ==
        "the cost between variables 1 and 3 is nan; it must be finite and not negative");
  graph.set(1, 3, -0.5);
  CHECK(error_of([&] { graph.matrix(); }) ==
        "the cost between variables 1 and 3 is -0.500000; it must be finite and not negative");
  graph.set(1, 3, 0.5);
  graph.costs[3 * 4 + 1] = 0.25F;
  CHECK(error_of([&] { graph.matrix(); }) ==
        "the cost between variables 1 and 3 is 0.500000 one way and 0.250000 the other; costs must be symmetric");
}
