// The op: orders of a model's variables, folded in.
#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/support/plugins.h"
#include "tests/support/small_clip.h"
#include "tests/support/small_model.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade {

namespace {

using Catch::Matchers::Contains;

constexpr std::int64_t window = 16;

void register_all() {
  register_linked_plugin(colonnade_plugin);
  for (const char* name : {"mamba", "mask", "train"}) load_plugin(name);
}

// Every tensor random, A_log, D, norms and biases too.
Model mamba() {
  register_all();
  const Json params = {{"d_model", 8}, {"layers", 2}, {"d_state", 5}, {"vocabulary", 16}, {"dtype", "f64"}};
  Model model = Model::from_field(small::run("mamba/mamba", params, {}).at("model")).mutable_copy();
  const RandomStream random = RandomStream(5).at("weights");
  for (const SiteSpec& site : model.sites()) {
    model.writable(site.name).sparse = random_normal(random.at(site.name), site.shape, at::kDouble) * 0.4;
  }
  return model;
}

Value scan(const Model& model, Json params, std::int64_t tokens = 256) {
  register_all();
  params["length"] = window;
  return small::run("scan/scan", std::move(params),
                    {{"model", model.to_field()}, {"data", to_field(small::text(tokens))}});
}

Model model_of(const Value& value) {
  return Model::from_field(value.at("model"));
}

double change(const Model& before, const Model& after) {
  at::NoGradGuard guard;
  return small::relative_error(after.forward(small::batch()), before.forward(small::batch()));
}

std::vector<std::int64_t> row(const Value& value, const std::string& field, std::int64_t index, std::int64_t size) {
  const Tensor line = to_tensor(value.at(field).tensors.at("tensor"))[index].contiguous();
  return {line.const_data_ptr<std::int64_t>(), line.const_data_ptr<std::int64_t>() + size};
}

// The samples that the op sees, by the definition: every window, one row a token.
class Samples final : public Observer {
 public:
  explicit Samples(std::string symmetry) : symmetry_(std::move(symmetry)) {}
  bool wants_variables(const Symmetry& symmetry) const override { return symmetry.name == symmetry_; }
  void on_variables(const Symmetry&, const Tensor& variables) override { seen.push_back(variables.clone()); }
  std::vector<Tensor> seen;

 private:
  std::string symmetry_;
};

// Sum of 1 - |rho| along an order, straight from the definition.
double path_cost(const Tensor& samples, const std::vector<std::int64_t>& order) {
  const Tensor centred = samples - samples.mean(0);
  double cost = 0;
  for (std::size_t k = 0; k + 1 < order.size(); ++k) {
    const Tensor a = centred.select(1, order[k]), b = centred.select(1, order[k + 1]);
    const double spread = std::sqrt((a * a).sum().item<double>() * (b * b).sum().item<double>());
    cost += 1 - std::abs((a * b).sum().item<double>() / spread);
  }
  return cost;
}

std::vector<std::int64_t> counting(std::int64_t size) {
  std::vector<std::int64_t> order;
  for (std::int64_t i = 0; i < size; ++i) order.push_back(i);
  return order;
}

}  // namespace

TEST_CASE("examples pass through a model of pictures and texts: every tower is ordered, its function stays") {
  register_all();
  const Model model = small::clip();
  const Examples examples = small::pairs(1);
  const auto ordered = [&](Json params) {
    return small::run("scan/scan", std::move(params), {{"model", model.to_field()}, {"data", to_field(examples)}});
  };
  const Batch batch = examples.batch({3, 5, 8, 13});
  for (const char* axis : {"hidden", "model", "heads"}) {
    const Value value = ordered({{"axis", axis}, {"samples", 12}});
    const Table report = table_from(value.at("report"));
    CHECK(report.rows() == 2);  // a layer, or a residual stream, in each tower
    for (const char* cost : {"cost_before", "cost_after"}) {
      CHECK(report.column(cost).cells.at(1).get<double>() > 0);
    }
    at::NoGradGuard guard;
    CHECK(small::relative_error(model_of(value).forward(batch), model.forward(batch)) < 1e-5);
  }
  CHECK_THAT(small::error_of([&] { ordered({{"axis", "hidden"}, {"pool", "sequence"}}); }), Contains("is for texts"));
}

TEST_CASE("whatever the axis and the order, the function stays the same and the weights move") {
  const Model model = mamba();
  for (const char* axis : {"channels", "state", "model"}) {
    for (const char* order : {"correlation", "random"}) {
      INFO(axis << ", " << order);
      const Model ordered = model_of(scan(model, {{"axis", axis}, {"order", order}}));
      CHECK(change(model, ordered) < 1e-12);
      CHECK(ordered.to_field().content_hash() != model.to_field().content_hash());
    }
  }
  CHECK(model_of(scan(model, {{"order", "identity"}})).to_field().content_hash() == model.to_field().content_hash());
}

TEST_CASE("an order moves what is attached along with the weights") {
  Model model = mamba();
  const std::string site = "backbone.layers.1.mixer.in_proj";
  set_reference(model.writable(site), model.weight(site).sparse * 0.3);
  apply_mask(model.writable(site), random_uniform(RandomStream(2), {32, 8}, at::kDouble) < 0.6);
  edit_low_rank(model.writable(site), random_normal(RandomStream(3), {32, 2}, at::kDouble),
                random_normal(RandomStream(4), {8, 2}, at::kDouble));
  model =
      small::run_model(
          "mask/mask",
          {{"sites", "*.x_proj#B,*.conv1d"}, {"granularity", "block"}, {"block_rows", 2}, {"block_columns", 2}}, model)
          .mutable_copy();
  const Model ordered = model_of(scan(model, Json::object()));
  CHECK(change(model, ordered) < 1e-12);
  CHECK(ordered.weight(site).has_mask());
  CHECK(ordered.counts().nonzero == model.counts().nonzero);
}

TEST_CASE("reported costs are those of the definition, orders and their inverses belong together") {
  const Model model = mamba();
  const Value value = scan(model, Json::object());
  const Table report = table_from(value.at("report"));
  REQUIRE(report.rows() == 2);
  const Tokens text = small::text(256);
  for (std::int64_t layer = 0; layer < 2; ++layer) {
    const std::string name = report.column("symmetry").cells[static_cast<std::size_t>(layer)];
    Samples samples(name);
    at::NoGradGuard guard;
    for (std::int64_t start = 0; start < 256; start += window) {
      Batch batch;
      batch.tensors["ids"] = token_windows(text, {start}, window);
      model.forward(batch, {}, &samples);
    }
    const Tensor all = at::cat(samples.seen);
    const auto order = row(value, "order", layer, 16), inverse = row(value, "order_inverse", layer, 16);
    for (std::size_t k = 0; k < order.size(); ++k) {
      CHECK(inverse[static_cast<std::size_t>(order[k])] == static_cast<std::int64_t>(k));
    }
    const auto at_row = [&](const char* column) {
      return report.column(column).cells[static_cast<std::size_t>(layer)].get<double>();
    };
    // Costs are kept in single precision.
    CHECK(at_row("cost_before") == Approx(path_cost(all, counting(16))).epsilon(1e-6));
    CHECK(at_row("cost_after") == Approx(path_cost(all, order)).epsilon(1e-6));
    CHECK(at_row("cost_after") < at_row("cost_before"));
    // 16 variables are solved exactly.
    CHECK(report.column("proven_cheapest").cells[static_cast<std::size_t>(layer)] == true);
    CHECK(at_row("lower_bound") <= at_row("cost_after") * (1 + 1e-6));
    CHECK(at_row("reduction") == Approx(100 * (1 - at_row("cost_after") / at_row("cost_before"))));
  }
}

TEST_CASE("with sequences as samples, each is its mean") {
  const Model model = mamba();
  const Value value = scan(model, {{"pool", "sequence"}});
  const std::string name = table_from(value.at("report")).column("symmetry").cells[0];
  Samples samples(name);
  at::NoGradGuard guard;
  std::vector<Tensor> means;
  for (std::int64_t start = 0; start < 256; start += window) {
    Batch batch;
    batch.tensors["ids"] = token_windows(small::text(256), {start}, window);
    samples.seen.clear();
    model.forward(batch, {}, &samples);
    means.push_back(at::cat(samples.seen).mean(0));
  }
  const double cost = table_from(value.at("report")).column("cost_after").cells[0].get<double>();
  CHECK(cost == Approx(path_cost(at::stack(means), row(value, "order", 0, 16))).epsilon(1e-6));
}

TEST_CASE("an order by masks brings variables with like masks together") {
  const Model model = mamba();
  CHECK_THAT(small::error_of([&] {
               scan(model, {{"order", "mask"}});
             }),
             Contains("order = \"mask\" needs masked sites on symmetry 'layers.0.channels'; there are none"));
  // Channels of x_proj are kept or dropped whole, every other one: two kinds of column, one step between them.
  Model masked = model.mutable_copy();
  for (const char* layer : {"0", "1"}) {
    SiteWeight& weight = masked.writable(std::string("backbone.layers.") + layer + ".mixer.x_proj");
    Tensor keep = at::arange(weight.sparse.size(1), at::kLong).remainder(2).eq(0).expand(weight.sparse.sizes());
    apply_mask(weight, keep.contiguous());
  }
  const Value value = scan(masked, {{"order", "mask"}});
  const Table report = table_from(value.at("report"));
  CHECK(report.column("cost_before").cells[0].get<double>() == Approx(15));
  CHECK(report.column("cost_after").cells[0].get<double>() == Approx(1));
  CHECK(change(masked, model_of(value)) < 1e-12);
}

TEST_CASE("a model that is ordered anew while it trains takes the same course") {
  const Model model = mamba();
  const auto train = [&](const Model& start) {
    const Json params = {{"steps", 7}, {"batch", 3}, {"length", 12}, {"learning_rate", 1e-2}, {"log_every", 1}};
    return small::run("train/train", params, {{"model", start.to_field()}, {"data", to_field(small::text(400))}});
  };
  const Model updating = model_of(scan(model, {{"update_every", 3}, {"order", "correlation"}, {"tokens", 64}}));
  REQUIRE(updating.hooks().size() == 1);
  const Table plain = table_from(train(model).at("curve"));
  const Value updated = train(updating);
  const Table curve = table_from(updated.at("curve"));
  CHECK(curve.column("scan_updates").cells.back() == 2);
  REQUIRE(curve.rows() == plain.rows());
  for (std::size_t i = 0; i < plain.rows(); ++i) {
    // The same function up to rounding, which AdamW may magnify a little.
    CHECK(curve.column("ce").cells[i].get<double>() == Approx(plain.column("ce").cells[i].get<double>()).epsilon(1e-9));
  }
}

TEST_CASE("what cannot be ordered is refused by name") {
  const Model model = mamba();
  CHECK_THAT(small::error_of([&] {
               scan(model, {{"axis", "chanels"}});
             }),
             Contains("the model has no axis 'chanels'") && Contains("channels") && Contains("state"));
  CHECK_THAT(small::error_of([&] { scan(model, Json::object(), window - 1); }),
             Contains("give no window of length 16"));
  Model damaged = model.mutable_copy();
  damaged.writable("backbone.layers.0.mixer.D").sparse.fill_(1e300);
  CHECK_THAT(small::error_of([&] {
               scan(damaged, {{"axis", "model"}});
             }),
             Contains("symmetry 'model' (sites backbone.") && Contains("beyond double precision"));
}

}  // namespace colonnade
