#include <cmath>
#include <cstdint>
#include <utility>

#include "tour.h"

namespace colonnade::scan {
namespace {

// Temperatures in temperature_unit: from accepting most detours over near neighbours down to next to none.
constexpr double kFirstTemperature = 0.25;
constexpr double kLastTemperature = 0.03;

// The scale on which moves differ: how much further the last neighbour of a list is than the first, averaged over
// nodes. Unlike the mean cost it does not change when a constant is added to all costs, which changes no path's rank
// either. Where all near neighbours are equally near, an edge of the start is the measure.
double temperature_unit(const TourGraph& graph, double start_cost) {
  double sum = 0;
  for (Node node = 0; node < graph.joint(); ++node) {
    const auto near = graph.neighbours(node);
    sum += near.back().cost - near[1].cost;  // near[0] is the joint
  }
  return (sum > 0 ? sum : start_cost) / static_cast<double>(graph.joint());
}

// One proposal, from the 64 bits of one random number.
class Dice {
 public:
  explicit Dice(std::uint64_t bits) : bits_(bits) {}

  // 0..bound-1, uneven by at most a part in 2^24 / bound, which no result rests on.
  std::size_t node(std::size_t bound) { return static_cast<std::size_t>(take(24) * bound >> 24); }
  std::size_t neighbour(std::size_t bound) { return static_cast<std::size_t>(take(12) * bound >> 12); }
  Direction direction() { return take(1) == 0 ? Direction::forward : Direction::backward; }
  // 0..kMaxCarried, where 0 stands for 2-opt.
  std::size_t carried() { return static_cast<std::size_t>(take(2)); }
  // In (0, 1), never an end.
  double uniform() { return (static_cast<double>(take(24)) + 0.5) / static_cast<double>(1U << 24); }

 private:
  std::uint64_t take(unsigned count) {
    const std::uint64_t part = bits_ & ((std::uint64_t{1} << count) - 1);
    bits_ >>= count;
    return part;
  }

  std::uint64_t bits_;
};
static_assert(kMaxCarried == 3, "two bits say how many nodes a proposal carries");

// Metropolis: a saving always, a loss with probability exp(-loss / temperature).
bool accepted(double saving, double temperature, Dice& dice) {
  return saving >= 0 || saving > temperature * std::log(dice.uniform());
}

// Returns what the tour became cheaper by: 0 where the proposal does not exist or is refused.
double propose(const TourGraph& graph, Tour& tour, double temperature, std::uint64_t bits) {
  Dice dice(bits);
  const Node node = static_cast<Node>(dice.node(graph.joint()));
  const auto near = graph.neighbours(node);
  const Node target = near[dice.neighbour(near.size())].node;
  const Direction direction = dice.direction();
  const Direction beyond = dice.direction();
  const std::size_t carried = dice.carried();
  const auto take_if_accepted = [&](const auto& move) {
    const double saved = saving(graph, move);
    if (!accepted(saved, temperature, dice)) return 0.0;
    apply(tour, move);
    return saved;
  };
  if (carried == 0) {
    return take_if_accepted(TwoOptMove{node, tour.step(node, direction), target, tour.step(target, direction)});
  }
  OrOptMove move;
  if (!find_or_opt(tour, node, carried, direction, target, beyond, move)) return 0.0;
  return take_if_accepted(move);
}

}  // namespace

Order annealed_path(const CostMatrix& costs, const Order& start, const RandomBits& random, const PathOptions& options) {
  const double start_cost = order_cost(costs, start);
  if (start.size() < kMinMovableNodes) return improve_small(costs, start);
  if (options.sweeps == 0) return start;
  const TourGraph graph(costs, options.neighbours);
  const double unit = temperature_unit(graph, start_cost);
  if (unit <= 0) return start;  // nothing is cheaper than nothing

  const double cooling = std::pow(kLastTemperature / kFirstTemperature, 1.0 / static_cast<double>(options.sweeps));
  double temperature = kFirstTemperature * unit;
  Tour tour(graph, start);
  double cost = start_cost;
  Order best = start;
  double best_cost = start_cost;
  std::uint64_t counter = 0;
  for (std::size_t sweep = 0; sweep < options.sweeps; ++sweep, temperature *= cooling) {
    for (std::size_t proposal = 0; proposal < start.size(); ++proposal) {
      cost -= propose(graph, tour, temperature, random(counter++));
    }
    if (cost >= best_cost) continue;
    best = tour.path();
    best_cost = cost;
  }
  return order_cost(costs, best) < start_cost ? best : start;
}

}  // namespace colonnade::scan
