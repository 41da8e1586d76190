#include <ATen/Functions.h>

#include <catch2/catch.hpp>

#include "tests/sdk/tensor/fixtures.h"
#include "tests/support/finite_differences.h"

// Symmetries: the function stays, and all that is attached moves along. Gradients reach all of it.
namespace colonnade {

namespace {

using laws::attach;
using laws::carries;
using laws::kinds;
using laws::same_bits;
using small::error_of;
using small::relative_error;

constexpr double bound = 1e-10;

// Up to a layer: the second layer's sites are like the first's.
void attach_everything(Model& model, int last_layer = small::layers) {
  for (const SiteSpec& site : model.sites()) {
    if (site.layer > last_layer) continue;
    for (const std::string& kind : kinds()) {
      if (carries(site.kind, kind)) attach(model, site.name, kind, 3);
    }
  }
}

Tensor random_order(const Symmetry& symmetry, std::uint64_t seed = 1) {
  return random_permutation(RandomStream(seed).at(symmetry.name), symmetry.size);
}

Tensor inverse_of(const Tensor& order) {
  return order.argsort();
}

// State that starts as a copy of its parameter has to stay one.
ParameterState copies_of_parameters(Model& model) {
  ParameterState state;
  for (const Parameter& parameter : model.parameters()) {
    state[parameter.name] = {{"exp_avg", parameter.tensor->clone()}, {"step", at::scalar_tensor(3, at::kLong)}};
  }
  return state;
}

void check_state_follows(Model& model, const ParameterState& state) {
  for (const Parameter& parameter : model.parameters()) {
    INFO(parameter.name);
    CHECK(same_bits(state.at(parameter.name).at("exp_avg"), *parameter.tensor));
    CHECK(state.at(parameter.name).at("step").item<std::int64_t>() == 3);
  }
}

void check_permuted(Model model) {
  const Tensor expected = model.forward(small::batch());
  const Model before = model.mutable_copy();
  ParameterState state = copies_of_parameters(model);
  for (const Symmetry& symmetry : model.symmetries()) {
    INFO("symmetry " << symmetry.name);
    permute(model, symmetry, random_order(symmetry), &state);
    CHECK(relative_error(model.forward(small::batch()), expected) < bound);
    check_state_follows(model, state);
    for (const SiteSpec& site : model.sites()) CHECK(laws::masked_zeros_hold(model.weight(site.name)));
  }
  for (auto symmetry = model.symmetries().rbegin(); symmetry != model.symmetries().rend(); ++symmetry) {
    permute(model, *symmetry, inverse_of(random_order(*symmetry)), &state);
  }
  CHECK(model.to_field().content_hash() == before.to_field().content_hash());
}

}  // namespace

TEST_CASE("permuted equals unpermuted with reference, mask, U, V, adapters and optimizer state attached") {
  laws::provide();
  for (const auto make : {+[] { return small::make(); }, laws::make_heads}) {
    for (const laws::Form& form : laws::forms()) {
      Model model = make();
      INFO(model.architecture().type() << ", " << laws::text_of(form));
      laws::take_form(model, form);
      check_permuted(model.mutable_copy());
      attach_everything(model);
      check_permuted(std::move(model));
    }
  }
}

TEST_CASE("a permutation really moves: variables in order, groups as a whole, both axes of one site") {
  Model model = laws::make_heads();
  const Model before = model.mutable_copy();
  const Tensor order = at::tensor(std::vector<std::int64_t>{2, 0, 3, 1}, at::kLong);
  permute(model, model.symmetry("heads"), order);
  for (std::int64_t head = 0; head < 4; ++head) {
    const std::int64_t from = order[head].item<std::int64_t>();
    CHECK(same_bits(model.weight("value").sparse.narrow(0, head * 3, 3),
                    before.weight("value").sparse.narrow(0, from * 3, 3)));
    CHECK(same_bits(model.weight("mix").sparse.narrow(1, head * 3, 3),
                    before.weight("mix").sparse.narrow(1, from * 3, 3)));
  }
  const Tensor hidden = random_order(model.symmetry("hidden"));
  permute(model, model.symmetry("hidden"), hidden);
  CHECK(same_bits(model.weight("square").sparse,
                  before.weight("square").sparse.index_select(0, hidden).index_select(1, hidden)));
}

TEST_CASE("what a permutation leaves in place keeps its bits, and other models keep all of theirs") {
  laws::provide();
  Model model = small::make();
  attach_everything(model);
  const auto original = model.to_field().content_hash();
  Model copy = model.mutable_copy();
  const Symmetry& symmetry = copy.symmetry("layers.0.state");
  permute(copy, symmetry, random_order(symmetry, 4));
  CHECK(same_bits(copy.weight("layers.1.x_proj").sparse, model.weight("layers.1.x_proj").sparse));
  CHECK_FALSE(same_bits(copy.weight("layers.0.x_proj").sparse, model.weight("layers.0.x_proj").sparse));
  // Rows before the member's start stand still.
  CHECK(same_bits(copy.weight("layers.0.x_proj").sparse.narrow(0, 0, small::step_rank),
                  model.weight("layers.0.x_proj").sparse.narrow(0, 0, small::step_rank)));
  CHECK(model.to_field().content_hash() == original);
}

TEST_CASE("orders that are no permutation are refused") {
  laws::provide();
  Model model = small::make();
  const Symmetry& symmetry = model.symmetry("layers.0.state");
  const std::string message = "the order given for symmetry 'layers.0.state' is no permutation of its 3 variables";
  for (const Tensor& order : {at::tensor(std::vector<std::int64_t>{0, 1}, at::kLong),
                              at::tensor(std::vector<std::int64_t>{0, 1, 1}, at::kLong),
                              at::tensor(std::vector<std::int64_t>{1, 2, 3}, at::kLong),
                              at::tensor(std::vector<double>{0, 1, 2}, at::kDouble), at::zeros({1, 3}, at::kLong)}) {
    CHECK(error_of([&] { permute(model, symmetry, order); }) == message);
  }
}

TEST_CASE("symmetries and adapters that do not fit are refused before anything moves") {
  laws::provide();
  Model model = small::make();
  const auto before = model.to_field().content_hash();
  const Tensor order = at::tensor(std::vector<std::int64_t>{1, 0}, at::kLong);
  const auto refused = [&](SymmetryMember member) {
    Symmetry symmetry{"odd", "odd", 0, 2, 1, {{"norm_f", 0, 0}, std::move(member)}};
    return error_of([&] { permute(model, symmetry, order); });
  };
  CHECK(refused({"layers.0.in_proj", 0, 15}) ==
        "symmetry 'odd', axis 0 of site 'layers.0.in_proj': indices 15 to 16 do not lie within its 16");
  CHECK(refused({"layers.0.conv1d", 1, 0}) ==
        "symmetry 'odd', axis 1 of site 'layers.0.conv1d': there is no such axis to permute");
  CHECK(refused({"layers.0.norm", 2, 0}) ==
        "symmetry 'odd', axis 2 of site 'layers.0.norm': there is no such axis to permute");
  CHECK(refused({"layers.0.nrom", 0, 0}) == "the model has no site 'layers.0.nrom'; did you mean 'layers.0.norm'?");
  CHECK(model.to_field().content_hash() == before);

  auto odd = laws::make_law("output", model.site("layers.0.norm"), at::kDouble, 1);
  odd->tensors().at("scale").tensor = at::ones({2}, at::kDouble);
  model.attach("layers.0.norm", odd);
  CHECK(refused({"layers.0.norm", 0, 0}) ==
        "symmetry 'odd', axis 0 of site 'layers.0.norm': the tensor 'scale' of its adapter 'laws/law@2' says that its "
        "dimension 0 "
        "follows this axis, but has not 6 entries there");
}

TEST_CASE("a site that is not writable is not permuted") {
  laws::provide();
  Model model = small::make().mutable_copy({"layers.0.x_proj"});
  const Symmetry& symmetry = model.symmetry("layers.0.state");
  CHECK_THROWS_AS(permute(model, symmetry, random_order(symmetry, 4)), std::logic_error);
}

TEST_CASE("observers see a symmetry's variables in the order they have") {
  class Watch final : public Observer {
   public:
    bool wants_variables(const Symmetry& symmetry) const override { return symmetry.name == "hidden"; }
    void on_variables(const Symmetry&, const Tensor& variables) override { seen = variables.clone(); }
    bool wants_site(const SiteSpec& site) const override { return site.name == "square"; }
    void on_site(const SiteSpec&, const Tensor& input, const Tensor& output) override {
      product = output.clone();
      given = input.clone();
    }
    Tensor seen, given, product;
  };
  Model model = laws::make_heads();
  Watch before, after;
  model.forward(small::batch(), {}, &before);
  const Tensor order = random_order(model.symmetry("hidden"));
  permute(model, model.symmetry("hidden"), order);
  model.forward(small::batch(), {}, &after);
  REQUIRE(before.seen.sizes() == at::IntArrayRef({14, 6}));
  CHECK(relative_error(after.seen, before.seen.index_select(1, order)) < bound);
  CHECK(relative_error(after.product, before.product.index_select(2, order)) < bound);
  CHECK(relative_error(at::linear(after.given, model.weight("square").sparse), after.product) < bound);
}

TEST_CASE("gradients reach every adapter on every site, and are right") {
  laws::provide();
  for (const bool training : {false, true}) {
    Model model = small::make();
    laws::take_form(model, {true, true, true});
    attach_everything(model, 0);
    for (const SiteSpec& site : model.sites()) model.set_site_trainable(site.name, site.layer <= 0);
    StepInfo info;
    info.training = training;
    // In evaluation a decision has no gradient: its logits are not trained there.
    if (!training) {
      for (const AttachedAdapter& attached : model.adapters()) {
        for (auto& [name, entry] : attached.adapter->tensors()) {
          if (name == "logits" && attached.adapter->hard_mask().defined()) entry.trainable = false;
        }
      }
    }
    INFO((training ? "training" : "evaluation"));
    check_gradients(model, [&](const Model& each) { return each.loss(small::batch(1, 3), info); });
  }
}

TEST_CASE("no adapter's gradient is zero") {
  laws::provide();
  Model model = small::make();
  attach_everything(model);
  StepInfo info;
  info.training = true;
  std::vector<Tensor> leaves;
  auto parameters = model.parameters();
  for (Parameter& parameter : parameters) {
    *parameter.tensor = parameter.tensor->detach().clone().requires_grad_(true);
    leaves.push_back(*parameter.tensor);
  }
  const auto gradients = torch::autograd::grad({model.loss(small::batch(), info)}, leaves);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    INFO(parameters[i].name);
    CHECK(gradients[i].abs().max().item<double>() > 0);
  }
}

}  // namespace colonnade
