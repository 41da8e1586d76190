#pragma once

#include <ATen/Parallel.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/plugins.h"
#include "tests/support/small_model.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade::training {

// A table of logits: the next token by the one before it. Remembers the ids that it was trained on. Its second site
// takes part in nothing.
class Bigram final : public Architecture {
 public:
  static std::vector<Tensor>& seen() {
    static std::vector<Tensor> ids;
    return ids;
  }
  std::string type() const override { return "bigrams/bigram"; }
  std::vector<SiteSpec> sites(const Json&) const override {
    SiteSpec table;
    table.name = table.tensor_name = "table";
    table.kind = SiteKind::embedding;
    table.shape = {small::vocabulary, small::vocabulary};
    SiteSpec unused;
    unused.name = unused.tensor_name = "unused";
    unused.kind = SiteKind::vector;
    unused.shape = {3};
    return {table, unused};
  }
  std::vector<Symmetry> symmetries(const Json&) const override { return {}; }
  Tensor forward(SiteRunner& run, const Json&, const Batch& batch) const override {
    if (run.training()) seen().push_back(batch.at("ids"));
    return run.embedding("table", batch.at("ids"));
  }
  std::vector<FixedCost> fixed_costs(const Json&, std::int64_t) const override { return {}; }
};

inline Model bigram(double diagonal = 0) {
  static const bool once = [] {
    Registrar registrar("bigrams");
    register_architecture(registrar, std::make_shared<const Bigram>());
    Registry::instance().commit(std::move(registrar));
    return true;
  }();
  (void)once;
  Model model(std::make_shared<const Bigram>(), {{"dtype", "f64"}});
  model.writable("unused").sparse = at::ones({3}, at::kDouble);
  // `diagonal` at the successor of each token, as in `cycle`.
  Tensor table = random_normal(RandomStream(3).at("table"), {small::vocabulary, small::vocabulary}, at::kDouble) * 0.1;
  for (std::int64_t token = 0; token < small::vocabulary; ++token)
    table[token][(token + 1) % small::vocabulary] += diagonal;
  model.writable("table").sparse = table;
  return model;
}

// 0, 1, 2, ... around the vocabulary.
inline Tokens cycle(std::int64_t count) {
  std::vector<std::uint8_t> ids;
  for (std::int64_t i = 0; i < count; ++i) ids.push_back(static_cast<std::uint8_t>(i % small::vocabulary));
  Tokens tokens = small::text(2);
  tokens.ids = Blob::of(DType::u8, ids);
  return tokens;
}

struct Trained {
  Value value;
  std::vector<Value> checkpoints;  // one after each step
  std::vector<std::string> log;

  Model model() const { return Model::from_field(value.at("model")); }
  Table curve() const { return table_from(value.at("curve")); }
  const Json& summary() const { return value.at("summary").document; }
};

struct Texts {
  Tokens data = small::text(400);
  std::optional<Tokens> valid;
};

// Trains as a worker does, saving a checkpoint after every step; `from` is what an earlier run saved.
inline Trained train(const Model& model, Json params, const Texts& texts = {}, std::uint64_t seed = 0,
                     const std::optional<Value>& from = {}) {
  register_linked_plugin(colonnade_plugin);
  at::set_num_threads(1);  // as workers do by default; several would wait for each other on a busy machine
  const Json usual = {{"steps", 5}, {"batch", 2}, {"length", 7}, {"learning_rate", 1e-2}};
  for (const auto& [name, value] : usual.items()) {
    if (!params.contains(name)) params[name] = value;
  }
  Trained trained;
  RunRequest request;
  request.op = "train/train";
  request.params = std::move(params);
  request.inputs = {{"model", model.to_field()}, {"data", to_field(texts.data)}};
  if (texts.valid) request.inputs.emplace_back("valid", to_field(*texts.valid));
  request.seed = seed;
  request.log = [&](const std::string& line) { trained.log.push_back(line); };
  request.checkpoint_due = [] { return true; };
  request.save_checkpoint = [&](const Value& state) { trained.checkpoints.push_back(state); };
  request.load_checkpoint = [&] { return from; };
  trained.value = run_op(request);
  return trained;
}

inline std::string hash_of(const Value& value) {
  std::string all;
  for (const auto& [name, field] : value.fields) all += name + "=" + field.content_hash().hex() + "\n";
  return all;
}

// Root of the random numbers of a training that is run by itself.
inline RandomStream random_of(std::uint64_t seed) {
  return RandomStream(seed).at("train/train").at(std::uint64_t{0});
}

inline double norm_of_change(const Model& before, const Model& after) {
  double squares = 0;
  for (const SiteSpec& site : before.sites()) {
    squares += (after.weight(site.name).sparse - before.weight(site.name).sparse).square().sum().item<double>();
  }
  return std::sqrt(squares);
}

}  // namespace colonnade::training
