#include <algorithm>
#include <limits>
#include <utility>

#include "tour.h"

namespace colonnade::scan {
namespace {

// Neighbours kept sorted. A node whose list is used up looks through all nodes left; a longer list makes that rarer.
constexpr std::size_t kListSize = 64;

// One walk after another over the same graph, each from its own start.
class Walker {
 public:
  explicit Walker(const CostMatrix& costs)
      : costs_(costs),
        list_size_(std::min(kListSize, costs.size() - 1)),
        lists_(nearest_nodes(costs, list_size_)),
        left_(costs.size()),
        places_(costs.size()) {}

  // Cost of the walk, left in path(); infinity as soon as it reaches `limit`.
  double walk(Node start, double limit) {
    const std::size_t d = costs_.size();
    path_.clear();
    left_.resize(d);
    for (std::size_t node = 0; node < d; ++node) left_[node] = places_[node] = static_cast<Node>(node);
    visit(start);
    double cost = 0;
    for (Node at = start; !left_.empty();) {
      const Node next = nearest_left(at);
      cost += costs_(at, next);
      if (cost >= limit) return std::numeric_limits<double>::infinity();
      visit(next);
      at = next;
    }
    return cost;
  }

  const Order& path() const { return path_; }

 private:
  static constexpr Node kVisited = std::numeric_limits<Node>::max();

  void visit(Node node) {
    path_.push_back(node);
    const Node moved = left_.back();
    left_[places_[node]] = moved;
    places_[moved] = places_[node];
    places_[node] = kVisited;
    left_.pop_back();
  }

  Node nearest_left(Node at) const {
    if (left_.size() > list_size_) {
      const Neighbour* list = lists_.data() + at * list_size_;
      for (std::size_t rank = 0; rank < list_size_; ++rank) {
        if (places_[list[rank].node] != kVisited) return list[rank].node;
      }
    }
    Node nearest = left_.front();
    float least = costs_(at, nearest);
    for (const Node node : left_) {
      const float cost = costs_(at, node);
      if (cost > least || (cost == least && node > nearest)) continue;
      nearest = node;
      least = cost;
    }
    return nearest;
  }

  const CostMatrix& costs_;
  std::size_t list_size_;
  std::vector<Neighbour> lists_;
  std::vector<Node> left_;
  std::vector<Node> places_;
  Order path_;
};

}  // namespace

Order nearest_neighbour_path(const CostMatrix& costs) {
  if (costs.size() == 0) return {};
  Walker walker(costs);
  Order best;
  double best_cost = std::numeric_limits<double>::infinity();
  for (std::size_t start = 0; start < costs.size(); ++start) {
    const double cost = walker.walk(static_cast<Node>(start), best_cost);
    if (cost >= best_cost) continue;
    best_cost = cost;
    best = walker.path();
  }
  return canonical(std::move(best));
}

}  // namespace colonnade::scan
