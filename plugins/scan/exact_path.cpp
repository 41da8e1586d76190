#include <limits>
#include <string>
#include <utility>

#include "colonnade/error.h"
#include "tour.h"

namespace colonnade::scan {
namespace {

// Cheapest paths by the set of nodes visited and the last of them.
class SetTable {
 public:
  explicit SetTable(std::size_t d)
      : size_(d), costs_(d << d, std::numeric_limits<double>::infinity()), previous_(d << d, 0) {}
  double& cost(std::size_t set, std::size_t last) { return costs_[set * size_ + last]; }
  std::uint8_t& previous(std::size_t set, std::size_t last) { return previous_[set * size_ + last]; }

 private:
  std::size_t size_;
  std::vector<double> costs_;
  std::vector<std::uint8_t> previous_;
};

void extend(SetTable& table, const CostMatrix& costs, std::size_t set, std::size_t last) {
  const double so_far = table.cost(set, last);
  for (std::size_t node = 0; node < costs.size(); ++node) {
    const std::size_t bit = std::size_t{1} << node;
    if ((set & bit) != 0) continue;
    const double cost = so_far + costs(last, node);
    if (cost >= table.cost(set | bit, node)) continue;
    table.cost(set | bit, node) = cost;
    table.previous(set | bit, node) = static_cast<std::uint8_t>(last);
  }
}

}  // namespace

Order exact_path(const CostMatrix& costs) {
  const std::size_t d = costs.size();
  if (d > kMaxExactNodes) {
    throw Error(ErrorKind::input, "the exact path is found for at most " + std::to_string(kMaxExactNodes) +
                                      " variables; found " + std::to_string(d) + "; use another solver");
  }
  if (d == 0) return {};
  SetTable table(d);
  const std::size_t all = (std::size_t{1} << d) - 1;
  for (std::size_t node = 0; node < d; ++node) table.cost(std::size_t{1} << node, node) = 0;
  for (std::size_t set = 1; set < all; ++set) {
    for (std::size_t last = 0; last < d; ++last) {
      if ((set >> last & 1) != 0) extend(table, costs, set, last);
    }
  }
  std::size_t last = 0;
  for (std::size_t node = 1; node < d; ++node) {
    if (table.cost(all, node) < table.cost(all, last)) last = node;
  }
  Order order;
  order.reserve(d);
  for (std::size_t set = all; set != 0;) {
    order.push_back(static_cast<std::uint32_t>(last));
    const std::size_t before = table.previous(set, last);
    set &= ~(std::size_t{1} << last);
    last = before;
  }
  return canonical(std::move(order));
}

Order improve_small(const CostMatrix& costs, const Order& start) {
  Order order = exact_path(costs);
  return order_cost(costs, order) < order_cost(costs, start) ? order : start;
}

}  // namespace colonnade::scan
