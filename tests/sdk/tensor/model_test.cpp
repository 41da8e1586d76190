#include "colonnade/tensor/model.h"

#include <ATen/Functions.h>
#include <sys/mman.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <limits>

#include "colonnade/error.h"
#include "tests/sdk/tensor/fixtures.h"

namespace colonnade {

namespace {

using laws::attach;
using laws::same_bits;
using small::error_of;

const std::string site_name = "layers.0.in_proj";
const std::string tensor_name = "layers.0.in_proj.weight";

Model rich_model() {
  laws::provide();
  Model model = small::make();
  laws::take_form(model, {true, true, true});
  for (const SiteSpec& site : model.sites()) {
    for (const std::string& kind : laws::kinds()) {
      if (laws::carries(site.kind, kind)) attach(model, site.name, kind);
    }
  }
  model.set_site_trainable("norm_f", false);
  model.add_hook(std::make_shared<laws::Counter>(NamedTensors{
      {"seen", at::arange(3, at::kLong)}, {"best", at::full({1}, std::numeric_limits<double>::infinity())}}));
  return model;
}

// A field whose tensors lie in memory that nobody may write.
Field read_only(const Field& field) {
  Field result = field;
  for (auto& [name, blob] : result.tensors) {
    const std::size_t size = std::max<std::size_t>(blob.size(), 1);
    void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    std::memcpy(memory, blob.data(), blob.size());
    REQUIRE(mprotect(memory, size, PROT_READ) == 0);
    std::shared_ptr<const void> owner(memory,
                                      [size](const void* address) { munmap(const_cast<void*>(address), size); });
    blob = Blob::share(blob.dtype(), blob.shape(), memory, owner);
  }
  return result;
}

// As an optimizer does: in place.
void write_everything(Model& model) {
  for (const Parameter& parameter : model.parameters()) parameter.tensor->add_(1);
}

std::string refusal(const std::function<void(Field&)>& spoil) {
  Field field = rich_model().to_field();
  spoil(field);
  return error_of([&] { Model::from_field(field); });
}

Blob filled(std::vector<std::int64_t> shape, double value, at::ScalarType type = at::kDouble) {
  return to_blob(at::full(shape, value, at::TensorOptions().dtype(type)));
}

}  // namespace

TEST_CASE("a model comes back from its field bit for bit, with adapters, hooks and what is trainable") {
  const Model model = rich_model();
  const Field field = model.to_field();
  CHECK(field.type == "model");
  CHECK(field.carries == std::set<std::string>{"fixture", "laws"});
  const Model back = Model::from_field(field);
  CHECK(back.to_field().content_hash() == field.content_hash());
  CHECK(same_bits(back.forward(small::batch()), model.forward(small::batch())));
  for (const SiteSpec& site : model.sites()) {
    INFO(site.name);
    const SiteWeight &a = model.weight(site.name), &b = back.weight(site.name);
    CHECK(same_bits(a.sparse, b.sparse));
    CHECK(same_bits(a.reference, b.reference));
    CHECK(same_bits(a.mask, b.mask));
    CHECK(same_bits(a.u, b.u));
    CHECK(same_bits(a.v, b.v));
    CHECK(back.site_trainable(site.name) == (site.name != "norm_f"));
  }
  REQUIRE(back.adapters().size() == model.adapters().size());
  for (std::size_t i = 0; i < back.adapters().size(); ++i) {
    CHECK(back.adapters()[i].site == model.adapters()[i].site);
    CHECK(back.adapters()[i].adapter->configuration() == model.adapters()[i].adapter->configuration());
  }
  REQUIRE(back.hooks().size() == 1);
  CHECK(same_bits(back.hooks()[0]->tensors().at("seen"), at::arange(3, at::kLong)));
}

TEST_CASE("a plain model carries its architecture's plugin alone, and a detached adapter leaves no trace") {
  laws::provide();
  Model model = small::make();
  const auto plain = model.to_field();
  CHECK(plain.carries == std::set<std::string>{"fixture"});
  attach(model, site_name, "update");
  CHECK(model.to_field().carries == std::set<std::string>{"fixture", "laws"});
  model.detach(site_name, "laws/la");
  CHECK(model.adapters().size() == 1);
  model.detach(site_name, "laws/law");
  CHECK(model.to_field().content_hash() == plain.content_hash());
}

TEST_CASE("what is wrong with a stored model is told by site and tensor") {
  CHECK(refusal([](Field& f) { f.tensors.erase(tensor_name); }) ==
        "the model's tensor '" + tensor_name + "' is missing");
  CHECK(refusal([](Field& f) {
          f.tensors[tensor_name] = filled({6, 16}, 1);
        }) == "the model's tensor '" + tensor_name + "' is f64 [6,16]; its site needs f64 [16,6]");
  CHECK(refusal([](Field& f) {
          f.tensors[tensor_name] = filled({16, 6}, 1, at::kFloat);
        }) == "the model's tensor '" + tensor_name + "' is f32 [16,6]; its site needs f64 [16,6]");
  CHECK(refusal([](Field& f) {
          f.tensors[tensor_name + ":mask"] = filled({16, 6}, 1);
        }) == "the model's tensor '" + tensor_name + ":mask' is f64 [16,6]; its site needs bool [16,6]");
  CHECK(refusal([](Field& f) { f.tensors[tensor_name + ":reference"] = filled({16}, 1); }) ==
        "the model's tensor '" + tensor_name + ":reference' is f64 [16]; its site needs f64 [16,6]");
  CHECK(refusal([](Field& f) {
          f.tensors[tensor_name + ":V"] = filled({6, 3}, 1);
        }) == "the model's tensor '" + tensor_name + ":V' is f64 [6,3]; its site needs f64 [6,1]");
  CHECK(refusal([](Field& f) { f.tensors[tensor_name + ":U"] = filled({16}, 1); }) ==
        "the model's tensor '" + tensor_name + ":U' is f64 [16]; its site needs f64 [16,0]");
  CHECK(refusal([](Field& f) { f.tensors.erase(tensor_name + ":V"); }) ==
        "the model's tensor '" + tensor_name + "' has one of its factors U and V but not the other");
  CHECK(refusal([](Field& f) {
          f.tensors[tensor_name] = filled({16, 6}, 1);
        }) == "the model's tensor '" + tensor_name + "' is not zero where its mask drops it");
  CHECK(refusal([](Field& f) {
          f.tensors["norm_f.weight:reference"] = filled({6}, std::numeric_limits<double>::quiet_NaN());
        }) == "NaN in the model's tensor 'norm_f.weight:reference'");
  CHECK(refusal([](Field& f) {
          f.tensors["norm_f.weight:reference"] = filled({6}, std::numeric_limits<double>::infinity());
        }) == "an infinity in the model's tensor 'norm_f.weight:reference'");
  CHECK(refusal([](Field& f) {
          f.tensors["adapters/3/A"] = filled({2, 6}, std::numeric_limits<double>::quiet_NaN());
        }) == "NaN in the tensor 'A' of adapter 'laws/law@2' of site 'embedding'");
  CHECK(refusal([](Field& f) {
          f.tensors["layers.0.in_porj.weight"] = filled({16, 6}, 1);
        }) == "the model's tensor 'layers.0.in_porj.weight' belongs to no site, adapter or hook of it");
  CHECK(refusal([](Field& f) {
          f.tensors.erase("adapters/2/A");
        }).starts_with("adapter 'laws/law@2' of site 'embedding' cannot be read: "));
}

TEST_CASE("finite weights whose sum overflows are no error") {
  CHECK(refusal([](Field& f) {
          f.tensors["norm_f.weight:reference"] = filled({6}, std::numeric_limits<double>::max());
        }).empty());
}

TEST_CASE("what is wrong with a stored model's document is told") {
  CHECK(refusal([](Field& f) { f.type = "tokens"; }) == "expected a model, found a value of type 'tokens'");
  CHECK(refusal([](Field& f) { f.document["format"] = 3; }) ==
        "the model was written by a newer version: format 3, this one reads format 2 and older");
  CHECK(refusal([](Field& f) { f.document["architecture"] = "fixture/smal"; }) ==
        "no loaded plugin has the architecture 'fixture/smal'; did you mean 'fixture/small'?");
  CHECK(refusal([](Field& f) { f.document["adapters"][0]["type"] = "laws/lwa@2"; }) ==
        "no loaded plugin has the adapter 'laws/lwa'; did you mean "
        "'laws/law'?");
  CHECK(refusal([](Field& f) { f.document["adapters"][0]["type"] = "laws/law@3"; }) ==
        "the adapter 'laws/law@3' was written by a newer plugin; this one reads format 2 and older. Update the plugin "
        "'laws'");
  CHECK(refusal([](Field& f) {
          f.document["adapters"][0]["type"] = "laws/law@two";
        }).ends_with("'laws/law@two' is no type id; it ends in @ and a format from 1, as in plugin/type@1"));
  CHECK(refusal([](Field& f) { f.document["adapters"][0]["site"] = "embeding"; }) ==
        "the model has no site 'embeding'; did you mean 'embedding'?");
  CHECK(refusal([](Field& f) { f.document["hooks"][0]["type"] = "laws/countre@1"; }) ==
        "no loaded plugin has the hook 'laws/countre'; did you mean 'laws/counter'?");
  CHECK(refusal([](Field& f) { f.document["frozen_sites"] = {"norm"}; }).starts_with("the model has no site 'norm'"));
  for (const char* key : {"format", "architecture", "configuration", "frozen_sites", "adapters", "hooks"}) {
    INFO(key);
    CHECK(refusal([&](Field& f) { f.document.erase(key); }).starts_with("the model's document is damaged: "));
    CHECK_FALSE(refusal([&](Field& f) { f.document[key] = Json::array({Json::array()}); }).empty());
  }
  CHECK(refusal([](Field& f) { f.document = "text"; }).starts_with("the model's document is damaged: "));
}

TEST_CASE("every mistake in a stored model is an error of kind input") {
  for (const auto& spoil : std::vector<std::function<void(Field&)>>{
           [](Field& f) { f.document = Json::array(); }, [](Field& f) { f.tensors.clear(); },
           [](Field& f) { f.document["adapters"][0].erase("configuration"); }}) {
    Field field = rich_model().to_field();
    spoil(field);
    try {
      Model::from_field(field);
      FAIL("no error");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::input);
    }
  }
}

TEST_CASE("a mutable copy writes nothing through to its original") {
  const Model model = rich_model();
  const auto before = model.to_field().content_hash();
  Model copy = model.mutable_copy();
  write_everything(copy);
  for (const SiteSpec& site : copy.sites()) copy.writable(site.name).mask.fill_(true);
  for (const auto& hook : copy.hooks()) hook->tensors().at("seen").add_(1);
  for (const auto& attached : copy.adapters()) {
    for (auto& [name, entry] : attached.adapter->tensors()) entry.tensor.zero_();
  }
  CHECK(model.to_field().content_hash() == before);
  CHECK(copy.to_field().content_hash() != before);
}

TEST_CASE("a mutable copy of a model in read-only memory can be trained, permuted, masked and folded") {
  const Field field = read_only(rich_model().to_field());
  const Model model = Model::from_field(field);
  const auto before = model.to_field().content_hash();
  Model copy = model.mutable_copy();
  write_everything(copy);
  for (const Symmetry& symmetry : copy.symmetries())
    permute(copy, symmetry, at::arange(symmetry.size, at::kLong).flip(0));
  for (const SiteSpec& site : copy.sites())
    apply_mask(copy.writable(site.name), at::zeros(site.shape, at::kBool), true);
  std::vector<std::string> names;
  for (const SiteSpec& site : copy.sites()) names.push_back(site.name);
  fold_adapters(copy, names, true);
  write_everything(copy);
  CHECK(copy.adapters().empty());
  CHECK(Model::from_field(field).to_field().content_hash() == before);
}

TEST_CASE("only the sites that were asked for can be written, with their adapters") {
  const Model model = rich_model();
  Model copy = model.mutable_copy({site_name});
  copy.writable(site_name).sparse.zero_();
  CHECK(error_of([&] { copy.writable("norm_f"); }) == "site 'norm_f' was not made writable by mutable_copy");
  CHECK_THROWS_AS(copy.set_weight("norm_f", model.weight("norm_f")), std::logic_error);
  CHECK_THROWS_AS(attach(copy, "norm_f", "output"), std::logic_error);
  CHECK_THROWS_AS(copy.detach("norm_f", "laws/law"), std::logic_error);
  CHECK_THROWS_AS(fold_adapters(copy, {"norm_f"}), std::logic_error);
  CHECK(error_of([&] { model.mutable_copy({"layers.0.inproj"}); }) ==
        "the model has no site 'layers.0.inproj'; did you mean 'layers.0.in_proj'?");
  // A stored model is nobody's to write.
  Model stored = Model::from_field(model.to_field());
  CHECK_THROWS_AS(stored.writable(site_name), std::logic_error);
}

TEST_CASE("a plain copy cannot be written, and neither it nor its original reaches the other's adapters and hooks") {
  Model model = rich_model();
  const auto before = model.to_field().content_hash();
  Model copy = model;
  CHECK_THROWS_AS(copy.writable(site_name), std::logic_error);
  const Symmetry& symmetry = model.symmetry("layers.0.state");
  const Tensor order = at::arange(symmetry.size, at::kLong).flip(0);
  CHECK_THROWS_AS(permute(copy, symmetry, order), std::logic_error);
  CHECK(model.to_field().content_hash() == before);
  permute(model, symmetry, order);
  for (const auto& hook : model.hooks()) hook->tensors().at("seen").add_(1);
  CHECK(copy.to_field().content_hash() == before);
  CHECK(model.to_field().content_hash() != before);
  // What is moved stays writable.
  Model moved = std::move(model);
  CHECK_NOTHROW(moved.writable(site_name));
  moved = copy;
  CHECK_THROWS_AS(moved.writable(site_name), std::logic_error);
  CHECK(moved.to_field().content_hash() == before);
}

TEST_CASE("all sites are frozen and freed together") {
  laws::provide();
  Model model = small::make();
  model.set_sites_trainable(false);
  CHECK(model.parameters().empty());
  model.set_sites_trainable(true);
  CHECK(model.parameters().size() == model.sites().size());
}

TEST_CASE("a weight of another shape is refused") {
  laws::provide();
  Model model = small::make();
  CHECK(error_of([&] {
          model.set_weight("norm_f", {{}, at::zeros({5}, at::kDouble), {}, {}, {}});
        }) == "site 'norm_f' has shape [6], given [5]");
  CHECK(error_of([&] { model.symmetry("layers.0.chanels"); }) ==
        "the model has no symmetry 'layers.0.chanels'; did you mean 'layers.0.channels'?");
  CHECK(error_of([&] { model.forward({}); }) == "the batch has no 'ids'");
}

TEST_CASE("parameters come in a fixed order with what permuting needs, and frozen ones are left out") {
  laws::provide();
  Model model = laws::make_heads();
  attach(model, "square", "decide");
  attach(model, "square", "update");
  attach(model, "value", "output");
  edit_low_rank(model.writable("square"), at::ones({6, 1}, at::kDouble), at::ones({6, 1}, at::kDouble));
  model.set_site_trainable("embedding", false);
  std::vector<std::string> names;
  for (const Parameter& parameter : model.parameters()) {
    names.push_back(parameter.name + " " + std::to_string(parameter.row_dim) + " " +
                    std::to_string(parameter.column_dim));
  }
  CHECK(names == std::vector<std::string>{"value:S 0 1", "value.bias:S 0 -1", "mix:S 0 1", "up:S 0 1", "square:S 0 1",
                                          "square:U 0 -1", "square:V -1 0", "head:S 0 1",
                                          "square:adapters.0.logits 0 1", "square:adapters.1.A -1 1",
                                          "square:adapters.1.B 0 -1", "value:adapters.0.scale 0 -1"});
  model.set_adapters_trainable(false);
  CHECK(model.parameters().size() == 8);
}

TEST_CASE("counts: all, trainable and non-zero, by hand") {
  laws::provide();
  Model model = laws::make_heads();
  constexpr std::int64_t dense = 11 * 5 + 12 * 5 + 12 + 5 * 12 + 6 * 5 + 6 * 6 + 11 * 6;
  CHECK(model.counts().all == dense);
  CHECK(model.counts().trainable == dense);
  CHECK(model.counts().nonzero == dense);

  // A mask of the site's own: masked elements count in all, neither as trainable nor as non-zero.
  Tensor keep = at::ones({6, 6}, at::kBool);
  keep.narrow(0, 0, 2).fill_(false);
  apply_mask(model.writable("square"), keep);
  CHECK(model.counts().all == dense);
  CHECK(model.counts().trainable == dense - 12);
  CHECK(model.counts().nonzero == dense - 12);

  // Over a reference the effective weight has no zeros there.
  set_reference(model.writable("head"), model.weight("head").sparse * 0.5);
  apply_mask(model.writable("head"), at::zeros({11, 6}, at::kBool));
  CHECK(model.counts().nonzero == dense - 12);
  CHECK(model.counts().trainable == dense - 12 - 66);

  edit_low_rank(model.writable("mix"), at::ones({5, 1}, at::kDouble), at::ones({12, 1}, at::kDouble));
  CHECK(model.counts().all == dense + 17);
  CHECK(model.counts().nonzero == dense - 12 + 17);

  attach(model, "up", "update");
  CHECK(model.counts().all == dense + 17 + 2 * (6 + 5));
  CHECK(model.counts().trainable == dense - 12 - 66 + 17 + 2 * (6 + 5));
}

TEST_CASE("counts: a decision in force counts like a mask, and only where it acts") {
  laws::provide();
  Model model = laws::make_heads();
  const auto before = model.counts();
  attach(model, "up", "decide");
  const Tensor kept = model.adapters().front().adapter->hard_mask();
  const std::int64_t dropped = 30 - kept.sum().item<std::int64_t>();
  REQUIRE(dropped > 0);
  // What decides is trained, so it is among all, but it is no weight.
  CHECK(model.counts().all == before.all + 30);
  CHECK(model.counts().trainable == before.trainable + 30);
  CHECK(model.counts().nonzero == before.nonzero - dropped);
  // With a reference the decision drops S alone.
  set_reference(model.writable("up"), model.weight("up").sparse * 0.5);
  CHECK(model.counts().nonzero == before.nonzero);
}

}  // namespace colonnade
