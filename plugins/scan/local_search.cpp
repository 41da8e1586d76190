#include <deque>
#include <utility>

#include "tour.h"

namespace colonnade::scan {
namespace {

// A saving that rounding could feign is none: else two equal tours might be exchanged for ever.
constexpr double kLeastSaving = 1e-9;

constexpr Direction kDirections[] = {Direction::forward, Direction::backward};

// Nodes whose surroundings changed since they were last looked at, first come first served.
class Agenda {
 public:
  explicit Agenda(const Order& order, std::size_t size) : queue_(order.begin(), order.end()), waiting_(size, false) {
    for (const Node node : order) waiting_[node] = true;
  }
  bool empty() const { return queue_.empty(); }
  void add(Node node) {
    if (waiting_[node]) return;
    waiting_[node] = true;
    queue_.push_back(node);
  }
  Node take() {
    const Node node = queue_.front();
    queue_.pop_front();
    waiting_[node] = false;
    return node;
  }

 private:
  std::deque<Node> queue_;
  std::vector<bool> waiting_;
};

template <typename Move>
struct Best {
  Move move{};
  double saving = kLeastSaving;

  void offer(const TourGraph& graph, const Move& candidate) {
    const double candidate_saving = scan::saving(graph, candidate);
    if (candidate_saving <= saving) return;
    saving = candidate_saving;
    move = candidate;
  }
};

// In every improving move some new edge is shorter than an old one beside it, so lists are read only that far.
void offer_two_opt(const TourGraph& graph, const Tour& tour, Node node, Best<TwoOptMove>& best) {
  for (const Direction direction : kDirections) {
    const Node after = tour.step(node, direction);
    const double given_up = graph.cost(node, after);
    for (const Neighbour& near : graph.neighbours(node)) {
      if (near.cost >= given_up) break;
      best.offer(graph, {node, after, near.node, tour.step(near.node, direction)});
    }
  }
}

void offer_stretches(const TourGraph& graph, const Tour& tour, Node first, Direction direction, Node target,
                     Direction beyond, Best<OrOptMove>& best) {
  OrOptMove move;
  for (std::size_t length = 1; length <= kMaxCarried; ++length) {
    if (find_or_opt(tour, first, length, direction, target, beyond, move)) best.offer(graph, move);
  }
}

// The node leads a stretch away to one of its neighbours, or lets a neighbour's stretch in beside itself.
void offer_or_opt(const TourGraph& graph, const Tour& tour, Node node, Best<OrOptMove>& best) {
  for (const Direction direction : kDirections) {
    const double given_up = graph.cost(tour.step(node, opposite(direction)), node);
    for (const Neighbour& near : graph.neighbours(node)) {
      if (near.cost >= given_up) break;
      for (const Direction other : kDirections) {
        offer_stretches(graph, tour, node, direction, near.node, other, best);
        offer_stretches(graph, tour, near.node, other, node, opposite(direction), best);
      }
    }
  }
}

void look_again(Agenda& agenda, const TwoOptMove& move) {
  for (const Node node : {move.a, move.b, move.c, move.d}) agenda.add(node);
}

void look_again(Agenda& agenda, const OrOptMove& move) {
  for (const Node node : {move.before, move.first, move.last, move.after, move.target, move.beyond}) agenda.add(node);
}

}  // namespace

Order two_opt_path(const CostMatrix& costs, const Order& start, const PathOptions& options) {
  const double start_cost = order_cost(costs, start);
  if (start.size() < kMinMovableNodes) return improve_small(costs, start);
  const TourGraph graph(costs, options.neighbours);
  Tour tour(graph, start);
  Agenda agenda(start, graph.size());
  while (!agenda.empty()) {
    const Node node = agenda.take();
    Best<TwoOptMove> reversal;
    Best<OrOptMove> carriage;
    offer_two_opt(graph, tour, node, reversal);
    offer_or_opt(graph, tour, node, carriage);
    if (reversal.saving <= kLeastSaving && carriage.saving <= kLeastSaving) continue;
    if (reversal.saving >= carriage.saving) {
      apply(tour, reversal.move);
      look_again(agenda, reversal.move);
    } else {
      apply(tour, carriage.move);
      look_again(agenda, carriage.move);
    }
    agenda.add(node);
  }
  Order path = tour.path();
  return order_cost(costs, path) < start_cost ? path : start;
}

}  // namespace colonnade::scan
