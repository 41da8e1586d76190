#include "tour.h"

#include <algorithm>
#include <utility>

namespace colonnade::scan {

std::vector<Neighbour> nearest_nodes(const CostMatrix& costs, std::size_t count) {
  const std::size_t d = costs.size();
  count = std::min(count, d > 0 ? d - 1 : 0);
  const auto nearer = [](const Neighbour& a, const Neighbour& b) {
    return a.cost < b.cost || (a.cost == b.cost && a.node < b.node);
  };
  std::vector<Neighbour> lists;
  lists.reserve(d * count);
  std::vector<Neighbour> others;
  for (std::size_t node = 0; node < d; ++node) {
    others.clear();
    const auto row = costs.row(node);
    for (std::size_t other = 0; other < d; ++other) {
      if (other != node) others.push_back({static_cast<Node>(other), row[other]});
    }
    const auto end = others.begin() + static_cast<std::ptrdiff_t>(count);
    if (end != others.end()) std::nth_element(others.begin(), end, others.end(), nearer);
    std::sort(others.begin(), end, nearer);
    lists.insert(lists.end(), others.begin(), end);
  }
  return lists;
}

TourGraph::TourGraph(const CostMatrix& costs, std::size_t neighbour_count) : size_(costs.size() + 1) {
  const std::size_t d = costs.size();
  const std::size_t near_count = std::min(std::max<std::size_t>(neighbour_count, 1), d > 0 ? d - 1 : 0);
  list_size_ = near_count + 1;
  costs_.resize(size_ * size_);
  for (std::size_t node = 0; node < d; ++node) {
    const auto row = costs.row(node);
    std::copy(row.begin(), row.end(), costs_.begin() + static_cast<std::ptrdiff_t>(node * size_));
  }
  const auto near_lists = nearest_nodes(costs, near_count);
  lists_.reserve(d * list_size_);
  for (std::size_t node = 0; node < d; ++node) {
    lists_.push_back({joint(), 0.0F});
    const auto first = near_lists.begin() + static_cast<std::ptrdiff_t>(node * near_count);
    lists_.insert(lists_.end(), first, first + static_cast<std::ptrdiff_t>(near_count));
  }
}

std::span<const Neighbour> TourGraph::neighbours(Node node) const {
  if (node == joint()) return {};
  return {lists_.data() + node * list_size_, list_size_};
}

Tour::Tour(const TourGraph& graph, const Order& path) : order_(path), places_(graph.size()) {
  order_.push_back(graph.joint());
  for (std::size_t place = 0; place < order_.size(); ++place)
    places_[order_[place]] = static_cast<std::uint32_t>(place);
}

void Tour::exchange(Node a, Node b, Node c, Node d) {
  if (next(a) != b) {  // read it the other way round: then a follows b and c follows d
    std::swap(a, b);
    std::swap(c, d);
  }
  const std::size_t size = order_.size();
  const std::size_t inner = (places_[c] + size - places_[b]) % size + 1;
  if (2 * inner <= size) {
    reverse(places_[b], places_[c]);
  } else {
    reverse(places_[d], places_[a]);
  }
}

void Tour::reverse(std::size_t first, std::size_t last) {
  const std::size_t size = order_.size();
  const std::size_t length = (last + size - first) % size + 1;
  for (std::size_t swaps = length / 2; swaps > 0; --swaps) {
    std::swap(order_[first], order_[last]);
    places_[order_[first]] = static_cast<std::uint32_t>(first);
    places_[order_[last]] = static_cast<std::uint32_t>(last);
    first = first + 1 == size ? 0 : first + 1;
    last = last == 0 ? size - 1 : last - 1;
  }
}

Order Tour::path() const {
  const std::size_t size = order_.size();
  const std::size_t cut = places_[size - 1];
  Order path;
  path.reserve(size - 1);
  path.insert(path.end(), order_.begin() + static_cast<std::ptrdiff_t>(cut) + 1, order_.end());
  path.insert(path.end(), order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(cut));
  return canonical(std::move(path));
}

bool find_or_opt(const Tour& tour, Node first, std::size_t length, Direction direction, Node target, Direction beyond,
                 OrOptMove& move) {
  Node last = first;
  for (std::size_t carried = 1; carried <= length; ++carried) {
    if (last == target) return false;
    if (carried < length) last = tour.step(last, direction);
  }
  move.before = tour.step(first, opposite(direction));
  move.first = first;
  move.last = last;
  move.after = tour.step(last, direction);
  move.target = target;
  move.beyond = tour.step(target, beyond);
  move.direction = direction;
  if (move.before == move.after || move.before == target) return false;
  return move.beyond != first && move.beyond != last;
}

double saving(const TourGraph& graph, const TwoOptMove& move) {
  return graph.cost(move.a, move.b) + graph.cost(move.c, move.d) - graph.cost(move.a, move.c) -
         graph.cost(move.b, move.d);
}

double saving(const TourGraph& graph, const OrOptMove& move) {
  return graph.cost(move.before, move.first) + graph.cost(move.last, move.after) +
         graph.cost(move.target, move.beyond) - graph.cost(move.before, move.after) -
         graph.cost(move.target, move.first) - graph.cost(move.last, move.beyond);
}

void apply(Tour& tour, const TwoOptMove& move) {
  tour.exchange(move.a, move.b, move.c, move.d);
}

// Read in the move's direction the tour is before, first..last, after, ..., x, y, ... with {x, y} = {target, beyond}.
void apply(Tour& tour, const OrOptMove& move) {
  const bool target_leads = tour.step(move.target, move.direction) == move.beyond;
  const Node x = target_leads ? move.target : move.beyond;
  const Node y = target_leads ? move.beyond : move.target;
  if (y == move.before) {
    tour.exchange(x, y, move.last, move.after);  // x, last..first, before, after
  } else {
    tour.exchange(move.before, move.first, x, y);  // before, x, ..., after, last..first, y
    if (x != move.after) tour.exchange(move.before, x, move.after, move.last);
  }
  if (target_leads) tour.exchange(x, move.last, move.first, y);
}

Order canonical(Order order) {
  if (!order.empty() && order.front() > order.back()) std::reverse(order.begin(), order.end());
  return order;
}

}  // namespace colonnade::scan
