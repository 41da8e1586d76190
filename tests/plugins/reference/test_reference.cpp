#include <catch2/catch.hpp>

#include "colonnade/tensor/editing.h"
#include "tests/support/plugins.h"
#include "tests/support/small_model.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade {

namespace {

using Catch::Matchers::Contains;

Value relative(const Model& model, const Model& base, Json params = Json::object()) {
  register_linked_plugin(colonnade_plugin);
  return small::run("reference/relative_to", std::move(params),
                    {{"model", model.to_field()}, {"base", base.to_field()}});
}

}  // namespace

TEST_CASE("a model relative to its base computes the same and knows the difference") {
  for (const char* dtype : {"f32", "f64"}) {
    const Model base = small::make(dtype, 1), tuned = small::make(dtype, 2);
    const Value value = relative(tuned, base);
    const Model model = Model::from_field(value.at("model"));
    for (const SiteSpec& site : model.sites()) {
      const SiteWeight& weight = model.weight(site.name);
      REQUIRE(weight.has_reference());
      CHECK(at::equal(weight.reference, base.weight(site.name).sparse));
      CHECK(at::equal(weight.sparse, tuned.weight(site.name).sparse - base.weight(site.name).sparse));
    }
    const double tolerance = std::string(dtype) == "f32" ? 1e-5 : 1e-13;  // one more rounding a weight
    CHECK(small::relative_error(model.forward(small::batch()), tuned.forward(small::batch())) < tolerance);
    CHECK(table_from(value.at("report")).rows() == model.sites().size());
  }
}

TEST_CASE("a reference of chosen sites leaves the others alone, and its bytes are the base's") {
  const Model base = small::make("f32", 1), tuned = small::make("f32", 2);
  const Value value = relative(tuned, base, {{"sites", "*.in_proj"}});
  const Model model = Model::from_field(value.at("model"));
  CHECK(model.weight("layers.0.in_proj").has_reference());
  CHECK(!model.weight("layers.0.out_proj").has_reference());
  CHECK(value.at("model").tensors.at("layers.0.in_proj.weight:reference").content_hash() ==
        base.to_field().tensors.at("layers.0.in_proj.weight").content_hash());
}

TEST_CASE("a mask stays where the base is zero too, and is given up in the record where it is not") {
  Model base = small::make("f64", 1).mutable_copy(), tuned = small::make("f64", 2).mutable_copy();
  const Tensor keep = random_uniform(RandomStream(4), {2 * small::channels, small::width}, at::kDouble) < 0.5;
  apply_mask(base.writable("layers.0.in_proj"), keep);
  for (const char* site : {"layers.0.in_proj", "layers.1.in_proj"}) apply_mask(tuned.writable(site), keep);
  const Value value = relative(tuned, base, {{"sites", "*.in_proj"}});
  const Model model = Model::from_field(value.at("model"));
  CHECK(model.weight("layers.0.in_proj").has_mask());
  CHECK(!model.weight("layers.1.in_proj").has_mask());
  CHECK(table_from(value.at("report")).column("gave_up_mask").cells == Json({false, true}));
  CHECK(small::relative_error(model.forward(small::batch()), tuned.forward(small::batch())) < 1e-13);
}

TEST_CASE("another architecture's weights are no reference") {
  const Model base = small::make("f64", 1), tuned = small::make("f32", 2);
  CHECK_THAT(small::error_of([&] { relative(tuned, base); }), Contains("a reference has the model's own structure"));
}

TEST_CASE("asking for the difference where there is no reference names the site and the way out") {
  // of_site is what every compressor asks.
  struct Context final : OpContext {
    OpSchema schema_;
    Json params_;
    Field none;
    const OpSchema& schema() const override { return schema_; }
    const Json& params() const override { return params_; }
    bool has_input(const std::string&) const override { return false; }
    const Field& input(const std::string&) const override { return none; }
    std::vector<const Field*> inputs(const std::string&) const override { return {}; }
    RandomStream random() const override { return {}; }
    std::uint64_t seed() const override { return 0; }
    int threads() const override { return 1; }
    std::string device() const override { return "cpu"; }
    void progress(std::int64_t, std::int64_t, const std::string&,
                  const std::vector<std::pair<std::string, double>>&) override {}
    void log(const std::string&) override {}
    bool checkpoint_due() override { return false; }
    void save_checkpoint(const Value&) override {}
    std::optional<Value> load_checkpoint() override { return {}; }
    Value call(const Recipe&, const std::vector<std::pair<std::string, Field>>&, const std::string&) override {
      return {};
    }
  } context;
  context.schema_.params.push_back(of_param());
  const Model plain = small::make("f64", 2);
  const Model model = Model::from_field(relative(plain, small::make("f64", 1)).at("model"));
  context.params_ = {{"of", nullptr}};
  CHECK(of_site(context, plain, "norm_f") == Of::weights);
  CHECK(of_site(context, model, "norm_f") == Of::delta);
  context.params_ = {{"of", "weights"}};
  CHECK(of_site(context, model, "norm_f") == Of::weights);
  context.params_ = {{"of", "delta"}};
  CHECK(of_site(context, model, "norm_f") == Of::delta);
  CHECK_THAT(small::error_of([&] { of_site(context, plain, "norm_f"); }),
             Contains("site 'norm_f' has none; set one with model:relative_to"));
}

}  // namespace colonnade
