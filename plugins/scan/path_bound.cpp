#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "tour.h"

namespace colonnade::scan {
namespace {

struct SpanningTree {
  double weight = 0;
  std::vector<std::uint32_t> degrees;
};

// Prim's algorithm on costs(i, j) + weights[i] + weights[j].
class TreeBuilder {
 public:
  explicit TreeBuilder(const CostMatrix& costs) : costs_(costs), keys_(costs.size()), parents_(costs.size()) {}

  void build(const std::vector<double>& weights, SpanningTree& tree) {
    const std::size_t d = costs_.size();
    tree.weight = 0;
    tree.degrees.assign(d, 0);
    keys_.assign(d, std::numeric_limits<double>::infinity());
    // Nodes still outside, packed, so that the inner loop shrinks as the tree grows.
    outside_.resize(d);
    for (std::size_t node = 0; node < d; ++node) outside_[node] = static_cast<Node>(node);
    std::size_t nearest_place = 0;
    for (std::size_t count = d; count > 0; --count) {
      const Node node = outside_[nearest_place];
      outside_[nearest_place] = outside_[count - 1];
      if (count < d) {
        tree.weight += keys_[node];
        ++tree.degrees[node];
        ++tree.degrees[parents_[node]];
      }
      nearest_place = attach(node, count - 1, weights);
    }
  }

 private:
  // Offers `node` as parent to the nodes outside; returns the place of the one nearest to the tree.
  std::size_t attach(Node node, std::size_t count, const std::vector<double>& weights) {
    const auto row = costs_.row(node);
    const double weight = weights[node];
    std::size_t nearest_place = 0;
    double nearest_key = std::numeric_limits<double>::infinity();
    for (std::size_t place = 0; place < count; ++place) {
      const Node other = outside_[place];
      const double key = row[other] + weight + weights[other];
      if (key < keys_[other]) {
        keys_[other] = key;
        parents_[other] = node;
      }
      if (keys_[other] < nearest_key) {
        nearest_key = keys_[other];
        nearest_place = place;
      }
    }
    return nearest_place;
  }

  const CostMatrix& costs_;
  std::vector<double> keys_;
  std::vector<Node> parents_;
  std::vector<Node> outside_;
};

// The two smallest weights, by place.
struct SmallestTwo {
  std::size_t first = 0;
  std::size_t second = 1;
};

SmallestTwo smallest_two(const std::vector<double>& weights) {
  SmallestTwo smallest;
  if (weights[smallest.second] < weights[smallest.first]) std::swap(smallest.first, smallest.second);
  for (std::size_t node = 2; node < weights.size(); ++node) {
    if (weights[node] < weights[smallest.first]) {
      smallest = {node, smallest.first};
    } else if (weights[node] < weights[smallest.second]) {
      smallest.second = node;
    }
  }
  return smallest;
}

// Sums of d terms of size at most the largest are exact to about d * epsilon of it; the bound gives that much away.
double rounding_margin(double magnitude, std::size_t d) {
  return 4 * static_cast<double>(d) * std::numeric_limits<double>::epsilon() * magnitude;
}

}  // namespace

// A path of cost c, its ends s and t, weighs c + 2 sum(w) - w_s - w_t on the shifted costs and is a spanning tree
// there: so c >= tree(w) + (two smallest w) - 2 sum(w) for all w. That is the 1-tree of the tour that closes the path
// through a joint at no cost. The ascent raises w where the tree has more than two edges and lowers it where it has
// one.
LowerBound path_lower_bound(const CostMatrix& costs, double upper_bound, const PathOptions& options) {
  const std::size_t d = costs.size();
  LowerBound bound;
  if (d < 2) return bound;
  TreeBuilder builder(costs);
  SpanningTree tree;
  std::vector<double> weights(d, 0.0);
  builder.build(weights, tree);
  bound.spanning_tree = std::max(0.0, tree.weight - rounding_margin(tree.weight, d));
  bound.one_tree = bound.spanning_tree;

  constexpr double kFirstStep = 1.0;
  constexpr double kLastStep = 0.02;
  constexpr double kMomentum = 0.3;  // smooths the zigzag of subgradients
  std::vector<double> slopes(d, 0.0);
  const double decay =
      std::pow(kLastStep / kFirstStep, 1.0 / static_cast<double>(std::max<std::size_t>(options.bound_iterations, 1)));
  double step = kFirstStep;
  double value = tree.weight;
  for (std::size_t iteration = 0; iteration < options.bound_iterations; ++iteration, step *= decay) {
    const SmallestTwo ends = smallest_two(weights);
    double square_sum = 0;
    for (std::size_t node = 0; node < d; ++node) {
      const double joined = node == ends.first || node == ends.second ? 1.0 : 0.0;
      const double excess = static_cast<double>(tree.degrees[node]) + joined - 2.0;
      slopes[node] = (1 - kMomentum) * excess + kMomentum * slopes[node];
      square_sum += excess * excess;
    }
    if (square_sum == 0 || upper_bound <= value) break;  // the tree is a path, or no better bound exists
    const double length = step * (upper_bound - value) / square_sum;
    double weight_sum = 0;
    double magnitude = 0;
    for (std::size_t node = 0; node < d; ++node) {
      weights[node] += length * slopes[node];
      weight_sum += weights[node];
      magnitude += std::abs(weights[node]);
    }
    builder.build(weights, tree);
    const SmallestTwo next = smallest_two(weights);
    value = tree.weight + weights[next.first] + weights[next.second] - 2 * weight_sum;
    const double safe = value - rounding_margin(std::abs(tree.weight) + 4 * magnitude, d);
    bound.one_tree = std::max(bound.one_tree, safe);
  }
  return bound;
}

}  // namespace colonnade::scan
