#include "path_solver.h"

#include <cmath>
#include <numeric>
#include <string>

#include "colonnade/error.h"
#include "tour.h"

namespace colonnade::scan {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorKind::input, message);
}

std::string pair_text(std::size_t from, std::size_t to) {
  return "the cost between variables " + std::to_string(from) + " and " + std::to_string(to);
}

Order identity(std::size_t d) {
  Order order(d);
  std::iota(order.begin(), order.end(), 0U);
  return order;
}

PathSolution solve_exactly(const CostMatrix& costs, const Order& unchanged, PathSolution solution) {
  solution.order = improve_small(costs, unchanged);
  solution.cost = order_cost(costs, solution.order);
  solution.cost_nearest_neighbour = order_cost(costs, nearest_neighbour_path(costs));
  solution.cost_annealing = solution.cost;
  solution.cost_two_opt = solution.cost;
  solution.exact = true;
  return solution;
}

}  // namespace

CostMatrix::CostMatrix(std::span<const float> costs, std::size_t d) : costs_(costs.data()), size_(d) {
  if (costs.size() != d * d) {
    refuse("a cost matrix of " + std::to_string(d) + " variables has " + std::to_string(d * d) + " numbers; found " +
           std::to_string(costs.size()));
  }
  for (std::size_t from = 0; from < d; ++from) {
    for (std::size_t to = from + 1; to < d; ++to) {
      const float cost = (*this)(from, to);
      if (!std::isfinite(cost) || cost < 0) {
        refuse(pair_text(from, to) + " is " + std::to_string(cost) + "; it must be finite and not negative");
      }
      if (cost != (*this)(to, from)) {
        refuse(pair_text(from, to) + " is " + std::to_string(cost) + " one way and " +
               std::to_string((*this)(to, from)) + " the other; costs must be symmetric");
      }
    }
  }
}

double order_cost(const CostMatrix& costs, std::span<const std::uint32_t> order) {
  if (order.size() != costs.size()) {
    refuse("an order of " + std::to_string(costs.size()) + " variables has as many places; found " +
           std::to_string(order.size()));
  }
  std::vector<bool> seen(order.size(), false);
  for (const std::uint32_t node : order) {
    if (node >= order.size()) {
      refuse("an order of " + std::to_string(order.size()) + " variables names variable " + std::to_string(node) +
             "; they are counted from 0");
    }
    if (seen[node]) refuse("an order names variable " + std::to_string(node) + " twice");
    seen[node] = true;
  }
  double sum = 0;
  for (std::size_t place = 1; place < order.size(); ++place) sum += costs(order[place - 1], order[place]);
  return sum;
}

PathSolution solve_path(const CostMatrix& costs, const RandomBits& random, const PathOptions& options) {
  const Order unchanged = identity(costs.size());
  PathSolution solution;
  solution.cost_before = order_cost(costs, unchanged);
  const bool exact =
      options.method == PathMethod::exact || (options.method == PathMethod::best && costs.size() <= kMaxExactNodes);
  if (exact) {
    solution = solve_exactly(costs, unchanged, std::move(solution));
    solution.bound = path_lower_bound(costs, solution.cost, options);
    return solution;
  }
  const auto keep = [&](Order order) {
    if (order_cost(costs, order) < order_cost(costs, solution.order)) solution.order = std::move(order);
    return order_cost(costs, solution.order);
  };
  const auto runs = [&](PathMethod method) { return options.method == PathMethod::best || options.method == method; };
  solution.order = unchanged;
  solution.cost_nearest_neighbour = keep(nearest_neighbour_path(costs));
  solution.cost_annealing = solution.cost_nearest_neighbour;
  if (runs(PathMethod::annealing)) {
    solution.cost_annealing = keep(annealed_path(costs, solution.order, random, options));
  }
  solution.cost_two_opt = solution.cost_annealing;
  if (runs(PathMethod::two_opt)) solution.cost_two_opt = keep(two_opt_path(costs, solution.order, options));
  solution.cost = solution.cost_two_opt;
  solution.bound = path_lower_bound(costs, solution.cost, options);
  return solution;
}

}  // namespace colonnade::scan
