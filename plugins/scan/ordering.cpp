#include "ordering.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "colonnade/error.h"
#include "colonnade/tensor/device.h"

namespace colonnade::scan {

namespace {

const std::pair<PathMethod, const char*> kMethods[] = {{PathMethod::best, "best"},
                                                       {PathMethod::nearest_neighbour, "nearest"},
                                                       {PathMethod::annealing, "anneal"},
                                                       {PathMethod::two_opt, "two_opt"},
                                                       {PathMethod::exact, "exact"}};
const std::pair<OrderKind, const char*> kKinds[] = {{OrderKind::correlation, "correlation"},
                                                    {OrderKind::identity, "identity"},
                                                    {OrderKind::random, "random"},
                                                    {OrderKind::mask, "mask"}};

template <typename Enum, std::size_t count>
const char* name_in(const std::pair<Enum, const char*> (&table)[count], Enum wanted) {
  return std::find_if(std::begin(table), std::end(table), [&](const auto& entry) { return entry.first == wanted; })
      ->second;
}

template <typename Enum, std::size_t count>
Enum value_in(const std::pair<Enum, const char*> (&table)[count], const std::string& name) {
  const auto found =
      std::find_if(std::begin(table), std::end(table), [&](const auto& entry) { return entry.second == name; });
  if (found == std::end(table)) throw Error(ErrorKind::input, "unknown ordering option '" + name + "'");
  return found->first;
}

// What `act` refuses is told with the symmetry and its sites.
template <typename Act>
auto naming(const Symmetry& symmetry, const Act& act) {
  try {
    return act();
  } catch (const Error& error) {
    std::string sites;
    for (const SymmetryMember& member : symmetry.members) {
      if (sites.find(member.site) == std::string::npos) sites += (sites.empty() ? "" : ", ") + member.site;
    }
    throw Error(error.kind(), "symmetry '" + symmetry.name + "' (sites " + sites + "): " + error.what());
  }
}

class Collector final : public Observer {
 public:
  Collector(const std::vector<Symmetry>& symmetries, Pool pool) : pool_(pool) {
    for (const Symmetry& symmetry : symmetries) {
      accumulators_.emplace(symmetry.name, CovarianceAccumulator(static_cast<std::size_t>(symmetry.size)));
    }
  }

  bool wants_variables(const Symmetry& symmetry) const override { return accumulators_.contains(symmetry.name); }

  void on_variables(const Symmetry& symmetry, const Tensor& variables) override {
    CovarianceAccumulator& accumulator = accumulators_.at(symmetry.name);
    Tensor rows = variables.to(at::kDouble).cpu().contiguous();
    if (pool_ == Pool::sequence) {
      sums_[symmetry.name] = sums_.contains(symmetry.name) ? sums_.at(symmetry.name) + rows.sum(0) : rows.sum(0);
      counts_[symmetry.name] += rows.size(0);
      return;
    }
    take(accumulator, symmetry, rows);
  }

  // With sequences as samples, what has been seen since the last call is one sample: its mean.
  void end_of_sequence(const std::vector<Symmetry>& symmetries) {
    for (const Symmetry& symmetry : symmetries) {
      if (!sums_.contains(symmetry.name)) continue;
      take(accumulators_.at(symmetry.name), symmetry,
           (sums_.at(symmetry.name) / static_cast<double>(counts_.at(symmetry.name))).contiguous());
    }
    sums_.clear();
    counts_.clear();
  }

  Correlation correlation(const Symmetry& symmetry) const {
    return naming(symmetry, [&] { return accumulators_.at(symmetry.name).correlation(); });
  }

 private:
  void take(CovarianceAccumulator& accumulator, const Symmetry& symmetry, const Tensor& rows) {
    naming(symmetry,
           [&] { accumulator.add(std::span(rows.const_data_ptr<double>(), static_cast<std::size_t>(rows.numel()))); });
  }

  Pool pool_;
  std::map<std::string, CovarianceAccumulator> accumulators_;
  std::map<std::string, Tensor> sums_;
  std::map<std::string, std::int64_t> counts_;
};

/// One sequence at a time where sequences are the samples.
void collect(const Model& model, Collector& collector, const std::vector<Symmetry>& symmetries,
             const OrderingOptions& options, std::int64_t batches, const std::function<Batch(std::int64_t)>& batch,
             const std::function<void(std::int64_t)>& progress) {
  at::NoGradGuard guard;
  for (std::int64_t i = 0; i < batches; ++i) {
    const Batch whole = batch(i);
    const std::int64_t rows = options.pool == Pool::token ? 1 : whole.at("ids").size(0);
    for (std::int64_t row = 0; row < rows; ++row) {
      Batch part = whole;
      if (rows > 1) {
        for (auto& [name, tensor] : part.tensors) tensor = tensor.narrow(0, row, 1);
      }
      model.forward(part, {}, &collector);
      if (options.pool == Pool::sequence) collector.end_of_sequence(symmetries);
    }
    progress(i + 1);
  }
}

/// The hard mask of a site, its own and its adapters', as bool [rows, columns]; undefined if nothing is masked.
Tensor site_mask(const Model& model, const std::string& site) {
  const SiteSpec& spec = model.site(site);
  Tensor mask =
      model.weight(site).has_mask() ? model.weight(site).mask.reshape({spec.rows(), spec.columns()}) : Tensor();
  for (const AttachedAdapter* attached : model.adapters_of(site)) {
    Tensor hard = attached->adapter->hard_mask();
    if (hard.defined()) mask = mask.defined() ? at::logical_and(mask, hard) : hard;
  }
  return mask;
}

/// Cost = share of mask elements in which two variables differ, over all masked members.
std::vector<float> mask_costs(const Model& model, const Symmetry& symmetry) {
  Tensor disagreements =
      at::zeros({symmetry.size, symmetry.size}, at::TensorOptions().dtype(at::kDouble).device(compute_device()));
  double elements = 0;
  for (const SymmetryMember& member : symmetry.members) {
    Tensor mask = site_mask(model, member.site);
    if (!mask.defined()) continue;
    Tensor lines = member.axis == 0 ? mask : mask.t();
    lines = lines.narrow(0, member.start, symmetry.size * symmetry.group).reshape({symmetry.size, -1}).to(at::kDouble);
    Tensor dropped = 1 - lines;
    disagreements += at::matmul(lines, dropped.t()) + at::matmul(dropped, lines.t());
    elements += static_cast<double>(lines.size(1));
  }
  if (elements == 0) {
    throw Error(ErrorKind::usage,
                "scan: order = \"mask\" needs masked sites on symmetry '" + symmetry.name + "'; there are none");
  }
  Tensor costs = (disagreements / elements).to(at::kFloat).cpu().contiguous();
  return {costs.const_data_ptr<float>(), costs.const_data_ptr<float>() + costs.numel()};
}

FoundOrder solve(const Symmetry& symmetry, const std::vector<float>& values, const OrderingOptions& options,
                 const RandomStream& random) {
  const auto size = static_cast<std::size_t>(symmetry.size);
  const CostMatrix costs(values, size);
  FoundOrder found;
  found.symmetry = symmetry;
  if (options.kind == OrderKind::identity || options.kind == OrderKind::random) {
    found.order.resize(size);
    std::iota(found.order.begin(), found.order.end(), 0U);
    found.cost_before = order_cost(costs, found.order);
    if (options.kind == OrderKind::random) {
      Tensor drawn = random_permutation(random.at(symmetry.name), symmetry.size);
      std::copy_n(drawn.const_data_ptr<std::int64_t>(), size, found.order.begin());
    }
    found.cost_after = order_cost(costs, found.order);
    found.lower_bound = path_lower_bound(costs, std::min(found.cost_before, found.cost_after), options.path).one_tree;
    return found;
  }
  const RandomStream stream = random.at(symmetry.name);
  const PathSolution solution = solve_path(
      costs, [stream](std::uint64_t counter) { return stream.bits(counter); }, options.path);
  found.order = solution.order;
  found.cost_before = solution.cost_before;
  found.cost_after = solution.cost;
  found.lower_bound = solution.bound.one_tree;
  found.exact = solution.exact;
  return found;
}

}  // namespace

Json OrderingOptions::to_json() const {
  return {{"axis", axis},
          {"order", name_in(kKinds, kind)},
          {"pool", pool == Pool::token ? "token" : "sequence"},
          {"solver", name_in(kMethods, path.method)}};
}

OrderingOptions OrderingOptions::from_json(const Json& document) {
  OrderingOptions options;
  options.axis = document.at("axis").get<std::string>();
  options.kind = value_in(kKinds, document.at("order").get<std::string>());
  options.pool = document.at("pool") == "token" ? Pool::token : Pool::sequence;
  options.path.method = value_in(kMethods, document.at("solver").get<std::string>());
  return options;
}

std::vector<Symmetry> symmetries_of(const Model& model, const std::string& axis) {
  std::vector<Symmetry> chosen;
  std::set<std::string> kinds;
  for (const Symmetry& symmetry : model.symmetries()) {
    kinds.insert(symmetry.axis);
    if (symmetry.axis == axis) chosen.push_back(symmetry);
  }
  if (!chosen.empty()) return chosen;
  std::string known;
  for (const std::string& kind : kinds) known += (known.empty() ? "" : ", ") + kind;
  throw Error(ErrorKind::usage, "scan: the model has no axis '" + axis + "'" +
                                    did_you_mean(axis, {kinds.begin(), kinds.end()}) +
                                    "; it has: " + (known.empty() ? "none" : known));
}

std::vector<FoundOrder> find_orders(const Model& model, const OrderingOptions& options, const RandomStream& random,
                                    std::int64_t batches, const std::function<Batch(std::int64_t)>& batch,
                                    const std::function<void(std::int64_t done)>& progress) {
  const auto symmetries = symmetries_of(model, options.axis);
  Collector collector(symmetries, options.pool);
  if (options.kind != OrderKind::mask) collect(model, collector, symmetries, options, batches, batch, progress);
  std::vector<FoundOrder> found;
  for (const Symmetry& symmetry : symmetries) {
    if (options.kind == OrderKind::mask) {
      found.push_back(solve(symmetry, mask_costs(model, symmetry), options, random));
      continue;
    }
    const Correlation correlation = collector.correlation(symmetry);
    found.push_back(solve(symmetry, correlation_costs(correlation), options, random));
    found.back().constants = correlation.constants.size();
  }
  return found;
}

Tensor order_tensor(const Order& order) {
  Tensor tensor = at::empty({static_cast<std::int64_t>(order.size())}, at::TensorOptions().dtype(at::kLong));
  std::copy(order.begin(), order.end(), tensor.data_ptr<std::int64_t>());
  return tensor;
}

Tensor inverse_tensor(const Order& order) {
  return order_tensor(order).argsort();
}

}  // namespace colonnade::scan
