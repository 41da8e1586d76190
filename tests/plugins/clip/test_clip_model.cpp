// The architecture's own laws: gradients, symmetries, variables, what an embedding depends on, adapters, the ops.
#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "colonnade/error.h"
#include "colonnade/plugin.h"
#include "colonnade/run_op.h"
#include "model_support.h"
#include "tests/support/plugins.h"

extern "C" {
extern const colonnade::PluginDescriptor colonnade_plugin;
}

namespace colonnade::clip {
namespace {

TEST_CASE("gradients of the whole model agree with finite differences in float64") {
  constexpr double kStep = 1e-6;
  for (const Activation activation : {Activation::quick_gelu, Activation::gelu}) {
    Configuration c = small_configuration();
    c.text.activation = c.vision.activation = activation;
    Model model = random_model(c, 1, true);
    const Batch batch = random_batch(c, 4, 2);
    for (const auto& [parameter, gradient] : loss_gradients(model, batch)) {
      const Tensor direction = random_normal(RandomStream(3).at(parameter.name), gradient.sizes(), at::kDouble);
      const Tensor origin = *parameter.tensor;
      const auto loss_at = [&](double step) {
        *parameter.tensor = origin + direction * step;
        return model.loss(batch).item<double>();
      };
      const double numeric = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
      *parameter.tensor = origin;
      CAPTURE(parameter.name, activation_name(activation));
      CHECK((gradient * direction).sum().item<double>() == Approx(numeric).epsilon(1e-5).margin(3e-9));
    }
  }
}

TEST_CASE("permuting any symmetry leaves the function as it was") {
  const Configuration c = small_configuration();
  const Model model = random_model(c, 5, true);
  const Batch batch = random_batch(c, 4, 6);
  const Tensor before = model.forward(batch);
  std::map<std::string, int> axes;
  for (const Symmetry& symmetry : model.symmetries()) {
    Model permuted = model.mutable_copy();
    // A reversal moves every variable but perhaps one, and each to a different distance.
    permute(permuted, symmetry, at::arange(symmetry.size - 1, -1, -1, at::kLong));
    CAPTURE(symmetry.name);
    CHECK(relative_error(permuted.forward(batch), before) < 1e-12);
    for (const SymmetryMember& member : symmetry.members) {
      CAPTURE(member.site, member.axis);
      CHECK_FALSE(
          at::equal(effective_weight(permuted.weight(member.site)), effective_weight(model.weight(member.site))));
    }
    ++axes[symmetry.axis];
  }
  const int layers = static_cast<int>(c.text.layers + c.vision.layers);
  const int heads = static_cast<int>(c.text.layers * c.text.heads + c.vision.layers * c.vision.heads);
  CHECK(axes == std::map<std::string, int>{
                    {"heads", layers}, {"hidden", layers}, {"values", heads}, {"queries", heads}, {"model", 2}});
}

TEST_CASE("a symmetry that lacks any of its members would change the function") {
  const Configuration c = small_configuration();
  const Model model = random_model(c, 5);
  const Batch batch = random_batch(c, 4, 6);
  const Tensor before = model.forward(batch);
  for (Symmetry symmetry : model.symmetries()) {
    symmetry.members.pop_back();
    Model permuted = model.mutable_copy();
    permute(permuted, symmetry, at::arange(symmetry.size - 1, -1, -1, at::kLong));
    CAPTURE(symmetry.name);
    // Queries end with a bias of keys, which has no influence (it shifts all scores of a row alike).
    if (symmetry.axis == "queries") continue;
    CHECK(relative_error(permuted.forward(batch), before) > 1e-6);
  }
}

/// Keeps what the forward pass offers.
class Recorder : public Observer {
 public:
  bool wants_site(const SiteSpec&) const override { return true; }
  void on_site(const SiteSpec& site, const Tensor& input, const Tensor& output) override {
    inputs[site.name] = input.clone();
    outputs[site.name] = output.clone();
  }
  bool wants_variables(const Symmetry&) const override { return true; }
  void on_variables(const Symmetry& symmetry, const Tensor& chunk) override {
    variables[symmetry.name].push_back(chunk.clone());
  }
  std::map<std::string, Tensor> inputs, outputs;
  std::map<std::string, std::vector<Tensor>> variables;
};

TEST_CASE("every linear offers its input and output, every symmetry its variables") {
  const Configuration c = small_configuration();
  const Model model = random_model(c, 8);
  const Batch batch = random_batch(c, 3, 9);
  Recorder recorder;
  const Tensor watched = model.forward(batch, {}, &recorder);
  CHECK(at::equal(watched, model.forward(batch)));
  for (const SiteSpec& site : model.sites()) {
    if (site.kind != SiteKind::linear) continue;
    CAPTURE(site.name);
    const Tensor bias = site.bias.empty() ? Tensor() : model.weight(site.bias).sparse;
    const Tensor expected = at::linear(recorder.inputs.at(site.name), model.weight(site.name).sparse, bias);
    CHECK(relative_error(recorder.outputs.at(site.name), expected) < 1e-13);
  }
  for (const Side side : {Side::text, Side::vision}) {
    const Tower& tower = tower_of(c, side);
    const std::string name = side_name(side);
    CHECK(recorder.variables.at(name).size() == static_cast<size_t>(tower.layers));
    for (std::int64_t layer = 0; layer < tower.layers; ++layer) {
      const std::string prefix = name + ".layers." + std::to_string(layer) + ".";
      const std::string sites = layer_prefix(side, layer);
      const Tensor outputs = recorder.inputs.at(sites + "self_attn.out_proj").reshape({-1, tower.width});
      const Tensor hidden = recorder.inputs.at(sites + "mlp.fc2").reshape({-1, tower.hidden});
      CHECK(at::equal(at::cat(recorder.variables.at(prefix + "hidden")), hidden));
      const Tensor heads = outputs.reshape({-1, tower.heads, tower.head_width()});
      CHECK(relative_error(at::cat(recorder.variables.at(prefix + "heads")), heads.mean(2)) < 1e-13);
      CHECK(at::equal(at::cat(recorder.variables.at(prefix + "head.1.values")), heads.select(1, 1)));
      const Tensor queries = recorder.outputs.at(sites + "self_attn.q_proj").reshape({-1, tower.width});
      CHECK(at::equal(at::cat(recorder.variables.at(prefix + "head.0.queries")),
                      queries.narrow(1, 0, tower.head_width())));
    }
  }
}

TEST_CASE("a text's embedding depends on what stands up to its end, and on no other text") {
  const Configuration c = small_configuration();
  for (const Pooling pooling : {Pooling::end_token, Pooling::highest_id}) {
    Configuration own = c;
    own.pooling = pooling;
    const Model model = random_model(own, 10);
    const Tensor ids =
        at::tensor(std::vector<std::int64_t>{1, 2, 10, 3, 4, 5, 6, 3, 4, 5, 6, 7, 10, 8}, at::kLong).reshape({2, 7});
    const auto embeddings = [&](const Tensor& of) { return model.forward({{{"ids", of}}}); };
    const Tensor before = embeddings(ids);
    Tensor behind = ids.clone();
    behind[0][3] = 9;
    behind[1][6] = 1;
    CHECK(relative_error(embeddings(behind), before) < 1e-13);
    Tensor ahead = ids.clone();
    ahead[0][1] = 9;
    const Tensor after = embeddings(ahead);
    CHECK(relative_error(after[0], before[0]) > 1e-3);
    CHECK(relative_error(after[1], before[1]) < 1e-13);
    CHECK(relative_error(embeddings(ids.narrow(0, 0, 1))[0], before[0]) < 1e-13);
    CHECK(before.norm(2, {1}).sub(1).abs().max().item<double>() < 1e-14);
  }
}

TEST_CASE("the contrastive loss is the mean of both cross entropies; groups are no counterexamples") {
  const Configuration c = small_configuration();
  const Model model = random_model(c, 10);
  Batch batch = random_batch(c, 4, 11);
  const Tensor logits = model.forward(batch);
  const auto loss_without = [&](const std::vector<std::vector<int>>& left_out) {
    double sum = 0;
    for (const bool rows : {true, false}) {
      for (int i = 0; i < 4; ++i) {
        double total = 0;
        for (int j = 0; j < 4; ++j) {
          const bool skip =
              i != j && std::any_of(left_out.begin(), left_out.end(), [&](const auto& group) {
                return std::count(group.begin(), group.end(), i) > 0 && std::count(group.begin(), group.end(), j) > 0;
              });
          if (!skip) total += std::exp((rows ? logits[i][j] : logits[j][i]).item<double>());
        }
        sum += std::log(total) - logits[i][i].item<double>();
      }
    }
    return sum / 8;
  };
  CHECK(model.loss(batch).item<double>() == Approx(loss_without({})).epsilon(1e-12));
  batch.tensors["groups"] = at::tensor(std::vector<std::int64_t>{5, 3, 5, 3}, at::kLong);
  CHECK(model.loss(batch).item<double>() == Approx(loss_without({{0, 2}, {1, 3}})).epsilon(1e-12));
  batch.tensors["groups"] = at::tensor(std::vector<std::int64_t>{2, 2, 2, 2}, at::kLong);
  CHECK(model.loss(batch).item<double>() == Approx(0).margin(1e-12));
}

TEST_CASE("with targets the loss is the cross entropy against the texts as classes") {
  const Configuration c = small_configuration();
  const Model model = random_model(c, 10);
  Batch batch = random_batch(c, 4, 11);
  batch.tensors["ids"] = batch.at("ids").narrow(0, 0, 2);
  CHECK_THROWS_WITH(model.loss(batch), Catch::Contains("4 pictures and 2 texts"));
  const Tensor logits = model.forward(batch);
  CHECK(logits.sizes() == at::IntArrayRef({4, 2}));
  batch.tensors["targets"] = at::tensor(std::vector<std::int64_t>{1, 0, 0, not_scored}, at::kLong);
  double expected = 0;
  for (const auto& [row, target] : {std::pair{0, 1}, {1, 0}, {2, 0}}) {
    expected -= at::log_softmax(logits[row], 0)[target].item<double>() / 3;
  }
  CHECK(model.loss(batch).item<double>() == Approx(expected).epsilon(1e-12));
}

TEST_CASE("what a batch gets wrong is named") {
  const Configuration c = small_configuration();
  const Model model = random_model(c, 10);
  const auto message = [&](NamedTensors tensors) -> std::string {
    try {
      model.forward({std::move(tensors)});
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  using Catch::Contains;
  CHECK_THAT(message({}), Contains("neither 'pixels' nor 'ids'"));
  CHECK_THAT(message({{"ids", at::full({1, 3}, 11, at::kLong)}}), Contains("token id 11") && Contains("of 11"));
  CHECK_THAT(message({{"ids", at::full({1, 3}, -1, at::kLong)}}), Contains("token id -1"));
  CHECK_THAT(message({{"ids", at::zeros({1, 8}, at::kLong)}}), Contains("8 tokens") && Contains("7 positions"));
  CHECK_THAT(message({{"ids", at::zeros({1, 8})}}), Contains("64-bit integers"));
  CHECK_THAT(message({{"pixels", at::zeros({1, 3, 6, 5})}}), Contains("[1,3,6,5]") && Contains("6, 6"));
  CHECK_THAT(message({{"pixels", at::zeros({1, 3, 6, 6}, at::kByte)}}), Contains("Byte"));
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
    tensors_["up"] = {random_normal(random.at("up"), {site.rows(), 1}, at::kDouble) * 0.2, 0, -1, true};
    tensors_["down"] = {random_normal(random.at("down"), {site.columns(), 1}, at::kDouble) * 0.2, -1, 0, true};
    if (site.kind != SiteKind::embedding)
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

/// A mask, a low-rank part and an adapter on every site that can have one.
Model dressed_model(const Configuration& c, std::uint64_t seed) {
  Model model = random_model(c, seed).mutable_copy();
  for (const SiteSpec& site : model.sites()) {
    SiteWeight& weight = model.writable(site.name);
    if (site.kind == SiteKind::linear) {
      const Tensor keep = random_uniform(RandomStream(seed).at("keep").at(site.name), site.shape, at::kDouble) > 0.4;
      apply_mask(weight, keep);
      weight.u = random_normal(RandomStream(seed).at("u").at(site.name), {site.rows(), 1}, at::kDouble) * 0.3;
      weight.v = random_normal(RandomStream(seed).at("v").at(site.name), {site.columns(), 1}, at::kDouble) * 0.3;
    }
    model.attach(site.name, std::make_shared<TestAdapter>());
  }
  return model;
}

TEST_CASE("folded equals unfolded on every site at once, and masked elements stay zero") {
  const Configuration c = small_configuration();
  const Model model = dressed_model(c, 21);
  const Batch batch = random_batch(c, 4, 22);
  Model folded = model.mutable_copy();
  std::vector<std::string> all;
  for (const SiteSpec& site : model.sites()) all.push_back(site.name);
  fold_adapters(folded, all);
  CHECK(folded.adapters().empty());
  CHECK(relative_error(folded.forward(batch), model.forward(batch)) < 1e-10);
  for (const SiteSpec& site : model.sites()) {
    const SiteWeight& weight = folded.weight(site.name);
    if (!weight.has_mask()) continue;
    CHECK(weight.sparse.masked_select(weight.mask.logical_not()).abs().sum().item<double>() == 0);
  }
}

TEST_CASE("permuted equals unpermuted with everything attached") {
  const Configuration c = small_configuration();
  const Model model = dressed_model(c, 23);
  const Batch batch = random_batch(c, 4, 24);
  const Tensor before = model.forward(batch);
  Model permuted = model.mutable_copy();
  for (const Symmetry& symmetry : model.symmetries()) {
    permute(permuted, symmetry, random_permutation(RandomStream(9).at(symmetry.name), symmetry.size));
    CAPTURE(symmetry.name);
    CHECK(relative_error(permuted.forward(batch), before) < 1e-11);
  }
}

TEST_CASE("adapters on every site get gradients") {
  const Configuration c = small_configuration();
  Model model = random_model(c, 12).mutable_copy();
  for (const SiteSpec& site : model.sites()) {
    model.set_site_trainable(site.name, false);
    model.attach(site.name, std::make_shared<TestAdapter>());
  }
  for (const NamedGradient& each : loss_gradients(model, random_batch(c, 4, 13))) {
    CAPTURE(each.parameter.name);
    // A key's bias shifts all scores of a row alike.
    if (each.parameter.site.ends_with("k_proj.bias")) continue;
    CHECK(each.gradient.abs().max().item<double>() > 1e-9);
  }
}

Value make_model(const Json& params, std::uint64_t seed = 3) {
  register_linked_plugin(colonnade_plugin);
  RunRequest request;
  request.op = "clip/clip";
  request.params = params;
  request.seed = seed;
  return run_op(request);
}

TEST_CASE("a model comes back from the store's form bit for bit") {
  make_model(Json::object());
  const Configuration c = small_configuration();
  const Model model = random_model(c, 14, true);
  const Batch batch = random_batch(c, 4, 15);
  CHECK(at::equal(Model::from_field(model.to_field()).forward(batch), model.forward(batch)));
}

TEST_CASE("the op makes the published initialisation, from its seed alone") {
  const Json params = {{"text_width", 64}, {"vision_width", 96}, {"vision_layers", 2}, {"vocabulary", 300}};
  const Field field = make_model(params).at("model");
  const Model model = Model::from_field(field);
  CHECK(field.content_hash() == make_model(params).at("model").content_hash());
  CHECK_FALSE(field.content_hash() == make_model(params, 4).at("model").content_hash());
  CHECK(field.carries == std::set<std::string>{"clip"});
  const auto deviation = [&](const std::string& name) { return model.weight(name).sparse.std().item<double>(); };
  const std::string text = layer_prefix(Side::text, 1), vision = layer_prefix(Side::vision, 1);
  CHECK(deviation(kTokenEmbedding) == Approx(0.02).epsilon(0.03));
  CHECK(deviation(kTextPositions) == Approx(0.01).epsilon(0.05));
  CHECK(deviation(text + "self_attn.q_proj") == Approx(1 / 8.0).epsilon(0.05));
  CHECK(deviation(text + "self_attn.out_proj") == Approx(1 / 8.0 / std::sqrt(6.0)).epsilon(0.05));
  CHECK(deviation(vision + "mlp.fc1") == Approx(1 / std::sqrt(192.0)).epsilon(0.05));
  CHECK(deviation(vision + "mlp.fc2") == Approx(1 / std::sqrt(96.0) / 2).epsilon(0.05));
  CHECK(deviation(kVisionProjection) == Approx(1 / std::sqrt(96.0)).epsilon(0.05));
  CHECK(at::equal(model.weight(kPreNorm).sparse, at::ones({96})));
  CHECK(model.weight(vision + "mlp.fc2.bias").sparse.abs().max().item<double>() == 0);
  CHECK(model.weight(kLogitScale).sparse.item<double>() == Approx(std::log(1 / 0.07)));
}

TEST_CASE("sizes that do not go together are refused with what does") {
  CHECK_THROWS_WITH(make_model({{"text_width", 10}, {"text_heads", 3}}), Catch::Contains("text tower's width of 10"));
  CHECK_THROWS_WITH(make_model({{"picture", 30}, {"patch", 8}}), Catch::Contains("30") && Catch::Contains("of 8"));
  CHECK_THROWS_WITH(make_model({{"vocabulary", 30}, {"end_token", 30}}), Catch::Contains("end token 30"));
  CHECK_THROWS_WITH(make_model({{"activation", "relu"}}), Catch::Contains("quick_gelu"));
}

TEST_CASE("costs grow as the towers do") {
  const Clip clip;
  const Configuration c = small_configuration();
  const auto total = [&](const Configuration& configuration, std::int64_t length) {
    double sum = 0;
    for (const FixedCost& cost : clip.fixed_costs(to_json(configuration), length)) sum += cost.flops;
    return sum;
  };
  Configuration deeper = c;
  deeper.vision.layers += 1;
  const double tokens = static_cast<double>(c.patches() + 1);
  // Attention, activations, two norms and two additions of one more layer.
  const double layer = tokens * tokens * (4.0 * 8 + 5 * 2) + tokens * 7 * 5 + 2 * tokens * 8 * 5 + 2 * tokens * 8;
  CHECK(total(deeper, 5) - total(c, 5) == Approx(layer));
  const Json document = to_json(c);
  const Model model = random_model(c, 1);
  CHECK(clip.applications(document, model.site(kPatchEmbedding), 5) == 4);
  CHECK(clip.applications(document, model.site(layer_prefix(Side::vision, 0) + "mlp.fc1"), 5) == 5);
  CHECK(clip.applications(document, model.site(layer_prefix(Side::text, 0) + "mlp.fc1"), 6) == 6);
  CHECK(clip.applications(document, model.site(kTextProjection), 6) == 1);
}

}  // namespace
}  // namespace colonnade::clip
