// The op of the scan plugin.
#include <ATen/Functions.h>

#include <functional>
#include <numeric>

#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/tensor/calibration.h"
#include "ordering.h"
#include "update_hook.h"

namespace colonnade::scan {

namespace {

constexpr std::int64_t kBatch = 4;  // sequences passed through at once
constexpr double kPercent = 100;

constexpr const char* kDefinition =
    "Orders a model's variables so that correlated ones lie side by side, and folds the order into the weights.\n"
    "Variables h of the chosen axis are collected while `tokens` tokens of a text, or `samples` examples, pass through "
    "the model (channels: the state averaged over "
    "its N entries; state: averaged over the channels; model: the residual stream after each block). With Σ_ij = "
    "E[(h_i − μ_i)"
    "(h_j − μ_j)] and its correlations ρ, Cost(i, j) = 1 − |ρ_ij|, and π is the cheapest open path through all "
    "variables found. "
    "New variable k is old variable π(k), in every weight, mask, reference, low-rank factor, adapter and optimizer "
    "state that "
    "follows the axis. A variable that never changes has ρ = 0 and is counted in the report.\n"
    "The permutation is an exact symmetry: by itself it changes neither loss nor FLOPs. It is worth something to "
    "partners that "
    "depend on order: masks by block or N:M, compaction, locality. Controls: order = \"identity\", \"random\", and "
    "\"mask\", whose "
    "cost is the share of mask elements in which two variables differ (correlation knows nothing of zeros).\n"
    "Solvers: nearest (nearest neighbour from every start), anneal (simulated annealing), two_opt (2-opt and Or-opt), "
    "exact "
    "(Held and Karp, up to 16 variables), best (all of them). The lower bound is a 1-tree's by Held and Karp's ascent.";

double percent_below(double before, double after) {
  return before > 0 ? kPercent * (before - after) / before : 0;
}
double percent_above(double bound, double cost) {
  return bound > 0 ? kPercent * (cost - bound) / bound : 0;
}

Table report_table(const std::vector<FoundOrder>& orders) {
  Table table;
  table.add_column("symmetry", "text");
  table.add_column("variables", "integer");
  for (const char* name : {"cost_before", "cost_after", "lower_bound"}) table.add_column(name, "real");
  table.add_column("reduction", "real", "%");
  table.add_column("above_bound", "real", "%");
  table.add_column("constant_variables", "integer");
  table.add_column("proven_cheapest", "bool");
  for (const FoundOrder& found : orders) {
    table.add_row({found.symmetry.name, found.symmetry.size, found.cost_before, found.cost_after, found.lower_bound,
                   percent_below(found.cost_before, found.cost_after),
                   percent_above(found.lower_bound, found.cost_after), found.constants, found.exact});
  }
  return table;
}

/// Orders of all symmetries, one after another, as one row of numbers each; shorter ones are filled with -1.
Tensor stacked(const std::vector<FoundOrder>& orders, bool inverse) {
  std::int64_t longest = 0;
  for (const FoundOrder& found : orders) longest = std::max(longest, found.symmetry.size);
  Tensor rows = at::full({static_cast<std::int64_t>(orders.size()), longest}, -1, at::TensorOptions().dtype(at::kLong));
  for (std::size_t i = 0; i < orders.size(); ++i) {
    Tensor row = inverse ? inverse_tensor(orders[i].order) : order_tensor(orders[i].order);
    rows.select(0, static_cast<std::int64_t>(i)).narrow(0, 0, row.numel()).copy_(row);
  }
  return rows;
}

// Windows side by side, without targets: nothing is scored.
Batch reading_batch(const Tokens& tokens, std::int64_t length, std::int64_t first_window, std::int64_t windows) {
  std::vector<std::int64_t> starts;
  for (std::int64_t i = 0; i < windows; ++i) starts.push_back((first_window + i) * length);
  Batch batch;
  batch.tensors["ids"] = token_windows(tokens, starts, length);
  return batch;
}

/// What passes through the model, batch by batch.
struct Reading {
  std::int64_t batches = 0;
  std::function<Batch(std::int64_t)> batch;
};

Reading reading_of(const OpContext& context, const Tokens& tokens) {
  const auto length = context.param<std::int64_t>("length");
  const std::int64_t windows = std::min(context.param<std::int64_t>("tokens"), tokens.count()) / length;
  if (windows == 0) {
    throw Error(ErrorKind::input, "scan: " + std::to_string(tokens.count()) + " tokens of data and tokens = " +
                                      std::to_string(context.param<std::int64_t>("tokens")) +
                                      " give no window of length " + std::to_string(length));
  }
  return {(windows + kBatch - 1) / kBatch, [=](std::int64_t index) {
            return reading_batch(tokens, length, index * kBatch, std::min(kBatch, windows - index * kBatch));
          }};
}

Reading reading_of(const OpContext& context, at::ScalarType type, Pool pool) {
  const Field& data = context.input("data");
  if (data.type == "tokens") return reading_of(context, tokens_from(data));
  if (pool == Pool::sequence) {
    throw Error(ErrorKind::usage, "scan: pool = \"sequence\" is for texts; examples are read with pool = \"token\"");
  }
  const auto batches = calibration_batches(data, context.param<std::int64_t>("samples"),
                                           context.param<std::int64_t>("length"), type, kBatch);
  return {static_cast<std::int64_t>(batches.size()),
          [=](std::int64_t index) { return batches.at(static_cast<std::size_t>(index)); }};
}

Value order_variables(OpContext& context) {
  const Model source = Model::from_field(context.input("model"));
  const OrderingOptions options = OrderingOptions::from_json({{"axis", context.param<std::string>("axis")},
                                                              {"order", context.param<std::string>("order")},
                                                              {"pool", context.param<std::string>("pool")},
                                                              {"solver", context.param<std::string>("solver")}});
  const Reading reading = reading_of(context, source.dtype(), options.pool);
  const auto orders = find_orders(source, options, context.random(), reading.batches, reading.batch,
                                  [&](std::int64_t done) { context.progress(done, reading.batches, "batches"); });
  Model model = source.mutable_copy();
  for (const FoundOrder& found : orders) {
    permute(model, found.symmetry, order_tensor(found.order));
    if (found.constants > 0)
      context.log(found.symmetry.name + ": " + std::to_string(found.constants) + " variables never change");
  }
  if (context.has_param("update_every")) {
    model.add_hook(make_update_hook(options, context.param<std::int64_t>("update_every"),
                                    std::max<std::int64_t>(1, reading.batches)));
  }
  const double before = std::accumulate(orders.begin(), orders.end(), 0.0,
                                        [](double sum, const auto& found) { return sum + found.cost_before; });
  const double after = std::accumulate(orders.begin(), orders.end(), 0.0,
                                       [](double sum, const auto& found) { return sum + found.cost_after; });
  context.log("path cost " + std::to_string(before) + " -> " + std::to_string(after));
  Value value;
  value.fields["model"] = model.to_field();
  value.fields["report"] = to_field(report_table(orders));
  value.fields["order"] = tensor_field(to_blob(stacked(orders, false)));
  value.fields["order_inverse"] = tensor_field(to_blob(stacked(orders, true)));
  value.fields["reduction"] = to_field(
      Scalar{percent_below(before, after), static_cast<std::int64_t>(orders.size()), {}, "%", Better::higher, {}});
  return value;
}

void register_plugin(Registrar& registrar) {
  register_hook(registrar, update_hook_type());
  registrar.op("scan")
      .doc(kDefinition)
      .example("local ordered = base:scan { data = text.train, axis = \"channels\" }")
      .random()
      .input("model", "model", "what is ordered")
      .input("data", "any", "a text or examples: what passes through the model")
      .output("model", "model", "the same function with its variables in the new order")
      .output("report", "table", "cost before and after, bound, by symmetry")
      .output("order", "tensor",
              "the orders, a row a symmetry: new variable k is old variable order[k]; -1 fills short rows")
      .output("order_inverse", "tensor", "their inverses")
      .output("reduction", "scalar", "by how much the path cost fell, over all symmetries")
      .param(text("axis", "which variables: an axis of the model's symmetries, such as channels, state, model")
                 .fall_back("channels"))
      .param(choice("order", {"correlation", "identity", "random", "mask"}, "by what they are ordered")
                 .fall_back("correlation"))
      .param(choice("solver", {"best", "nearest", "anneal", "two_opt", "exact"}, "how the path is found")
                 .fall_back("best"))
      .param(choice("pool", {"token", "sequence"}, "what a sample is: a token's variables, or a sequence's mean")
                 .fall_back("token"))
      .param(integer("tokens", "tokens of a text passed through the model").range(2, std::nullopt).fall_back(16384))
      .param(integer("length", "tokens in a sequence of a text").range(1, std::nullopt).fall_back(256))
      .param(integer("samples", "examples passed through the model, spread evenly over the data")
                 .range(1, std::nullopt)
                 .fall_back(64))
      .param(integer("update_every", "order anew after so many steps of every training that follows")
                 .range(1, std::nullopt)
                 .optional())
      .run(order_variables);
}

}  // namespace

}  // namespace colonnade::scan

COLONNADE_PLUGIN(colonnade::scan::register_plugin);
