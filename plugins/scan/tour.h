// What the heuristics of path_solver.h share: an open path as a closed tour through one node more, at no cost from any
// other. Cutting the tour there gives the path, and moves need no special case at the ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "path_solver.h"

namespace colonnade::scan {

using Node = std::uint32_t;

struct Neighbour {
  Node node;
  float cost;
};

/// The `count` (at most d - 1) nearest nodes of each node, nearest first, equal ones by index: [d, count].
std::vector<Neighbour> nearest_nodes(const CostMatrix& costs, std::size_t count);

/// The graph with the joint added as node d, first in each list of neighbours.
class TourGraph {
 public:
  TourGraph(const CostMatrix& costs, std::size_t neighbour_count);

  Node joint() const { return static_cast<Node>(size_ - 1); }
  std::size_t size() const { return size_; }
  double cost(Node a, Node b) const { return costs_[a * size_ + b]; }
  /// Empty for the joint, to which every node is equally near.
  std::span<const Neighbour> neighbours(Node node) const;

 private:
  std::size_t size_;
  std::size_t list_size_;
  std::vector<float> costs_;
  std::vector<Neighbour> lists_;
};

enum class Direction { forward, backward };

inline Direction opposite(Direction direction) {
  return direction == Direction::forward ? Direction::backward : Direction::forward;
}

/// The tour as an array of nodes and the place of each.
class Tour {
 public:
  Tour(const TourGraph& graph, const Order& path);

  Node next(Node node) const { return order_[places_[node] + 1 == order_.size() ? 0 : places_[node] + 1]; }
  Node previous(Node node) const { return order_[places_[node] == 0 ? order_.size() - 1 : places_[node] - 1]; }
  Node step(Node node, Direction direction) const {
    return direction == Direction::forward ? next(node) : previous(node);
  }
  /// Replaces the edges a-b and c-d by a-c and b-d. In one of the two directions b follows a and d follows c. Reverses
  /// the shorter of the two stretches, so which direction is forward afterwards is not said.
  void exchange(Node a, Node b, Node c, Node d);
  Order path() const;

 private:
  void reverse(std::size_t first, std::size_t last);

  std::vector<Node> order_;
  std::vector<std::uint32_t> places_;
};

/// Replaces the edges a-b and c-d by a-c and b-d, where b and d are the nodes after a and c.
struct TwoOptMove {
  Node a, b, c, d;
};

/// Carries the stretch first..last, which lies between `before` and `after`, to between `target` and `beyond`, `first`
/// next to `target`.
struct OrOptMove {
  Node before, first, last, after, target, beyond;
  Direction direction;  // in which first..last is read
};

/// Most nodes an Or-opt move carries.
inline constexpr std::size_t kMaxCarried = 3;

/// The stretch of `length` nodes from `first` on, carried to `target` and the node before or after it. False where the
/// move does not exist: the target lies in the stretch, or the stretch is there already.
bool find_or_opt(const Tour& tour, Node first, std::size_t length, Direction direction, Node target, Direction beyond,
                 OrOptMove& move);

/// What a move saves; negative where it costs.
double saving(const TourGraph& graph, const TwoOptMove& move);
double saving(const TourGraph& graph, const OrOptMove& move);

void apply(Tour& tour, const TwoOptMove& move);
void apply(Tour& tour, const OrOptMove& move);

/// Moves take a tour whose stretches have distinct ends; smaller graphs are solved exactly, at no cost worth a move.
inline constexpr std::size_t kMinMovableNodes = 5;

/// The cheaper of an exact path and `start`, which wins a tie; up to kMaxExactNodes.
Order improve_small(const CostMatrix& costs, const Order& start);

/// `order` or its reverse, whichever starts at the smaller end.
Order canonical(Order order);

}  // namespace colonnade::scan
