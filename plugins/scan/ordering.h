// From a model and data to an order of its variables: collects them, sets up the costs, solves for the path.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "colonnade/tensor/model.h"
#include "correlation.h"
#include "path_solver.h"

namespace colonnade::scan {

enum class OrderKind { correlation, identity, random, mask };
enum class Pool { token, sequence };

struct OrderingOptions {
  std::string axis = "channels";
  OrderKind kind = OrderKind::correlation;
  Pool pool = Pool::token;
  PathOptions path;

  Json to_json() const;
  static OrderingOptions from_json(const Json& document);
};

/// The model's symmetries of that kind of axis. Throws Error (usage) naming the kinds there are.
std::vector<Symmetry> symmetries_of(const Model& model, const std::string& axis);

/// One order found, with what is reported of it.
struct FoundOrder {
  Symmetry symmetry;
  Order order;  // new variable i is old variable order[i]
  double cost_before = 0, cost_after = 0, lower_bound = 0;
  std::size_t constants = 0;
  bool exact = false;
};

/// Passes `batches` batches through the model and orders every symmetry of the axis.
std::vector<FoundOrder> find_orders(const Model& model, const OrderingOptions& options, const RandomStream& random,
                                    std::int64_t batches, const std::function<Batch(std::int64_t)>& batch,
                                    const std::function<void(std::int64_t done)>& progress);

Tensor order_tensor(const Order& order);    // i64
Tensor inverse_tensor(const Order& order);  // i64

}  // namespace colonnade::scan
