// The architecture's own laws: gradients, symmetries, variables, causality, adapters, the ops.
#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "colonnade/plugin.h"
#include "colonnade/run_op.h"
#include "model_support.h"
#include "tests/support/plugins.h"

extern "C" {
extern const colonnade::PluginDescriptor colonnade_plugin;
}

namespace colonnade::mamba {
namespace {

TEST_CASE("gradients of the whole model agree with finite differences in float64") {
  constexpr double kStep = 1e-6;
  for (const auto discretization : {Discretization::mamba, Discretization::zoh}) {
    Configuration c = small_configuration();
    c.discretization = discretization;
    Model model = random_model(c, 1, true);
    const Batch batch = random_batch(c, 2, 5, 2);
    for (const auto& [parameter, gradient] : loss_gradients(model, batch)) {
      // Along a random direction of the whole tensor, and along its first and last element.
      const std::int64_t count = gradient.numel();
      const Tensor random = random_normal(RandomStream(3).at(parameter.name), gradient.sizes(), at::kDouble);
      const Tensor first = at::zeros_like(gradient);
      first.view(-1)[0] = 1;
      const Tensor last = at::zeros_like(gradient);
      last.view(-1)[count - 1] = 1;
      for (const Tensor& direction : {random, first, last}) {
        const Tensor origin = *parameter.tensor;
        const auto loss_at = [&](double step) {
          *parameter.tensor = origin + direction * step;
          return model.loss(batch).item<double>();
        };
        const double numeric = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
        *parameter.tensor = origin;
        const double exact = (gradient * direction).sum().item<double>();
        CAPTURE(parameter.name, discretization_name(discretization));
        CHECK(exact == Approx(numeric).epsilon(1e-5).margin(2e-9));
      }
    }
  }
}

TEST_CASE("permuting any symmetry leaves the function as it was") {
  const Configuration c = small_configuration();
  const Model model = random_model(c, 5, true);
  const Batch batch = random_batch(c, 2, 7, 6);
  const Tensor before = model.forward(batch);
  std::set<std::string> axes;
  for (const Symmetry& symmetry : model.symmetries()) {
    Model permuted = model.mutable_copy();
    // A reversal moves every variable but perhaps one, and each to a different distance.
    permute(permuted, symmetry, at::arange(symmetry.size - 1, -1, -1, at::kLong));
    CAPTURE(symmetry.name);
    CHECK(relative_error(permuted.forward(batch), before) < 1e-12);
    const std::string& member = symmetry.members.back().site;
    CHECK_FALSE(at::equal(effective_weight(permuted.weight(member)), effective_weight(model.weight(member))));
    axes.insert(symmetry.axis);
  }
  CHECK(axes == std::set<std::string>{"channels", "state", "model"});
}

/// Keeps what the forward pass offers.
class Recorder : public Observer {
 public:
  bool wants_site(const SiteSpec& site) const override {
    return site.roles.front() == "x_proj" || site.roles.front() == "dt_proj";
  }
  void on_site(const SiteSpec& site, const Tensor& input, const Tensor& output) override {
    inputs[site.name] = input.clone();
    outputs[site.name] = output.clone();
  }
  bool wants_variables(const Symmetry&) const override { return true; }
  void on_variables(const Symmetry& symmetry, const Tensor& chunk) override {
    std::vector<Tensor>& chunks = variables[symmetry.name];
    chunks.push_back(chunk.clone());
  }
  std::map<std::string, Tensor> inputs, outputs;
  std::map<std::string, std::vector<Tensor>> variables;
};

TEST_CASE("a symmetry's variables are means of the state, one row a token") {
  const Configuration c = small_configuration();
  const Model model = random_model(c, 8);
  const Batch batch = random_batch(c, 2, 6, 9);
  Recorder recorder;
  model.forward(batch, {}, &recorder);
  for (std::int64_t layer = 0; layer < c.layers; ++layer) {
    const std::string mixer = layer_prefix(layer) + "mixer.";
    const Tensor x = recorder.inputs.at(mixer + "x_proj");
    const Tensor b = recorder.outputs.at(mixer + "x_proj").narrow(-1, c.dt_rank, c.d_state);
    const Tensor delta = at::softplus(recorder.outputs.at(mixer + "dt_proj"));
    const Tensor a = -at::exp(model.weight(mixer + "A_log").sparse);
    Tensor h = at::zeros({2, c.d_inner(), c.d_state}, at::kDouble);
    std::vector<Tensor> states;
    for (std::int64_t t = 0; t < 6; ++t) {
      const Tensor step = delta.select(1, t).unsqueeze(-1);
      h = at::exp(step * a) * h + step * b.select(1, t).unsqueeze(1) * x.select(1, t).unsqueeze(-1);
      states.push_back(h);
    }
    const Tensor all = at::stack(states, 1);  // [B, L, D, N]
    const std::string prefix = "layers." + std::to_string(layer);
    const Tensor channels = at::cat(recorder.variables.at(prefix + ".channels"));
    const Tensor state = at::cat(recorder.variables.at(prefix + ".state"));
    CHECK(relative_error(channels, all.mean(3).reshape({-1, c.d_inner()})) < 1e-12);
    CHECK(relative_error(state, all.mean(2).reshape({-1, c.d_state})) < 1e-12);
  }
  CHECK(recorder.variables.at("model").size() == static_cast<size_t>(c.layers));
  CHECK(recorder.variables.at("model").front().sizes() == at::IntArrayRef({12, c.d_model}));
}

TEST_CASE("watching changes nothing") {
  const Configuration c = small_configuration();
  const Model model = random_model(c, 8);
  const Batch batch = random_batch(c, 2, 6, 9);
  Recorder recorder;
  CHECK(at::equal(model.forward(batch, {}, &recorder), model.forward(batch)));
}

TEST_CASE("no position sees a later one, and one sequence no other") {
  const Configuration c = small_configuration();
  const Model model = random_model(c, 10);
  Batch batch = random_batch(c, 2, 9, 11);
  const Tensor before = model.forward(batch);
  constexpr std::int64_t kChanged = 5;
  Tensor ids = batch.at("ids").clone();
  ids[0][kChanged] = (ids[0][kChanged] + 1) % c.vocabulary;
  batch.tensors["ids"] = ids;
  const Tensor after = model.forward(batch);
  CHECK(at::equal(after[0].narrow(0, 0, kChanged), before[0].narrow(0, 0, kChanged)));
  CHECK_FALSE(at::equal(after[0][kChanged], before[0][kChanged]));
  CHECK_FALSE(at::equal(after[0][kChanged + 1], before[0][kChanged + 1]));
  CHECK(at::equal(after[1], before[1]));
}

TEST_CASE("a token outside the vocabulary is an error that names it") {
  const Configuration c = small_configuration();
  const Model model = random_model(c, 10);
  Batch batch = random_batch(c, 1, 3, 11);
  batch.tensors["ids"][0][1] = 11;
  CHECK_THROWS_WITH(model.forward(batch), Catch::Contains("token id 11") && Catch::Contains("vocabulary of 11"));
}

/// y += up (down x), and the output times a scale: as simple as an adapter with every way to act can be.
class TestAdapter : public Adapter {
 public:
  std::string type() const override { return "test/adapter@1"; }
  Json configuration() const override { return Json::object(); }
  std::map<std::string, AdapterTensor>& tensors() override { return tensors_; }
  std::unique_ptr<Adapter> clone() const override { return std::make_unique<TestAdapter>(*this); }
  void bind(const SiteSpec& site) override {
    const RandomStream random = RandomStream(77).at(site.name);
    const bool tied = site.roles.size() > 1;
    tensors_["up"] = {random_normal(random.at("up"), {site.rows(), 1}, at::kDouble) * 0.2, 0, -1, true};
    tensors_["down"] = {random_normal(random.at("down"), {site.columns(), 1}, at::kDouble) * 0.2, -1, 0, true};
    if (!tied)
      tensors_["scale"] = {random_normal(random.at("scale"), {site.rows()}, at::kDouble) * 0.2 + 1, 0, -1, true};
  }
  Tensor update(const StepInfo&) const override {
    return at::matmul(tensors_.at("up").tensor, tensors_.at("down").tensor.t());
  }
  Tensor scale_output(const StepInfo&) const override {
    const auto found = tensors_.find("scale");
    return found == tensors_.end() ? Tensor() : found->second.tensor;
  }

 private:
  std::map<std::string, AdapterTensor> tensors_;
};

TEST_CASE("adapters on every site get gradients") {
  const Configuration c = small_configuration();
  Model model = random_model(c, 12).mutable_copy();
  for (const SiteSpec& site : model.sites()) {
    model.set_site_trainable(site.name, false);
    model.attach(site.name, std::make_shared<TestAdapter>());
  }
  const Batch batch = random_batch(c, 2, 6, 13);
  const auto gradients = loss_gradients(model, batch);
  CHECK(gradients.size() == 3 * model.sites().size() - 1);
  for (const NamedGradient& each : gradients) {
    CAPTURE(each.parameter.name);
    CHECK(each.gradient.abs().max().item<double>() > 1e-9);
  }
}

Value make_model(const Json& params, std::uint64_t seed = 3) {
  register_linked_plugin(colonnade_plugin);
  RunRequest request;
  request.op = "mamba/mamba";
  request.params = params;
  request.seed = seed;
  return run_op(request);
}

TEST_CASE("the op makes the published initialisation, from its seed alone") {
  const Json params = {{"d_model", 32}, {"layers", 3}};
  const Field field = make_model(params).at("model");
  const Model model = Model::from_field(field);
  CHECK(field.content_hash() == make_model(params).at("model").content_hash());
  CHECK_FALSE(field.content_hash() == make_model(params, 4).at("model").content_hash());
  CHECK(field.carries == std::set<std::string>{"mamba"});

  const auto weight = [&](const std::string& name) { return model.weight("backbone." + name).sparse; };
  const std::string mixer = "layers.1.mixer.";
  CHECK(weight("embeddings").std().item<double>() == Approx(0.02).epsilon(0.05));
  CHECK(at::equal(weight(mixer + "A_log")[5], at::log(at::arange(1, 17, at::kDouble)).to(at::kFloat)));
  CHECK(at::equal(weight(mixer + "D"), at::ones({64})));
  const Tensor steps = at::softplus(weight(mixer + "dt_proj.bias"));
  CHECK(steps.min().item<double>() >= 0.00099);
  CHECK(steps.max().item<double>() <= 0.101);
  CHECK(at::log(steps).mean().item<double>() == Approx(std::log(0.01)).margin(0.5));
  const double bound = 1 / std::sqrt(64.0) / std::sqrt(3.0);
  CHECK(weight(mixer + "out_proj").abs().max().item<double>() == Approx(bound).epsilon(0.02));
  CHECK(weight(mixer + "dt_proj").sizes() == at::IntArrayRef({64, 2}));
  CHECK_FALSE(at::equal(weight("layers.0.mixer.in_proj"), weight("layers.1.mixer.in_proj")));
}

TEST_CASE("a fresh float32 model is the rounded float64 one, and predicts nearly uniformly") {
  const Json params = {{"d_model", 16}, {"layers", 2}, {"vocabulary", 50}};
  Json wide = params;
  wide["dtype"] = "f64";
  const Model single = Model::from_field(make_model(params).at("model"));
  const Model both = Model::from_field(make_model(wide).at("model"));
  CHECK(both.dtype() == at::kDouble);
  for (const SiteSpec& site : single.sites()) {
    CHECK(at::equal(single.weight(site.name).sparse, both.weight(site.name).sparse.to(at::kFloat)));
  }
  Configuration c;
  c.vocabulary = 50;
  CHECK(single.loss(random_batch(c, 2, 20, 1)).item<double>() == Approx(std::log(50.0)).epsilon(0.05));
}

TEST_CASE("a value out of range is refused with what is allowed") {
  CHECK_THROWS_WITH(make_model({{"d_state", 300}}), Catch::Contains("d_state") && Catch::Contains("256"));
  // 2^62 times d_model would be 0 channels.
  CHECK_THROWS_WITH(make_model({{"expand", std::int64_t{1} << 62}}),
                    Catch::Contains("expand") && Catch::Contains("1024"));
  CHECK_THROWS_WITH(make_model({{"layers", 1'000'000'000}}), Catch::Contains("layers") && Catch::Contains("16384"));
  CHECK_THROWS_WITH(make_model({{"kernel", "fast"}}), Catch::Contains("fused") && Catch::Contains("reference"));
}

TEST_CASE("fixed costs grow with length, layers and states") {
  const Mamba mamba;
  Configuration c = small_configuration();
  const auto total = [&](const Configuration& configuration, std::int64_t length) {
    double sum = 0;
    for (const FixedCost& cost : mamba.fixed_costs(to_json(configuration), length)) sum += cost.flops;
    return sum;
  };
  CHECK(total(c, 20) == Approx(2 * total(c, 10)));
  Configuration more = c;
  more.d_state = c.d_state + 1;
  constexpr double kScanPerState = 7;
  CHECK(total(more, 10) - total(c, 10) == Approx(10.0 * c.layers * c.d_inner() * kScanPerState));
}

}  // namespace
}  // namespace colonnade::mamba
