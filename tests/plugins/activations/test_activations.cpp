#include <catch2/catch.hpp>

#include "colonnade/tensor/statistics.h"
#include "tests/support/plugins.h"
#include "tests/support/small_model.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade {

namespace {

using Catch::Matchers::Contains;

Value collect(const Model& model, const Field& data, Json params = Json::object()) {
  register_linked_plugin(colonnade_plugin);
  return small::run("activations/covariance", std::move(params), {{"model", model.to_field()}, {"data", data}});
}

}  // namespace

TEST_CASE("the sums are those of a loop over every position") {
  struct Watch final : Observer {
    std::vector<Tensor> seen;
    bool wants_site(const SiteSpec& site) const override { return site.name == "layers.1.x_proj"; }
    void on_site(const SiteSpec&, const Tensor& in, const Tensor&) override { seen.push_back(in.clone()); }
  } watch;
  const Model model = small::make("f64");
  const Tokens text = small::text(500);
  // 500 tokens are 49 windows of 10; 20 of them, spread evenly.
  for (std::int64_t i = 0; i < 20; ++i) model.forward(window_batch(text, {i * 49 / 20 * 10}, 10), {}, &watch);
  Tensor sum = at::zeros({small::channels, small::channels}, at::kDouble);
  std::int64_t count = 0;
  for (const Tensor& input : watch.seen) {
    for (std::int64_t t = 0; t < input.size(1); ++t, ++count) sum += at::outer(input[0][t], input[0][t]);
  }
  const Value value = collect(model, to_field(text), {{"samples", 20}, {"length", 10}});
  const Statistics statistics = statistics_from(value.at("statistics"));
  CHECK(statistics.sites.size() == 6);  // three linears in each of two layers
  const SiteStatistics& found = statistics.at(model.site("layers.1.x_proj"));
  CHECK(found.count == count);
  CHECK(small::relative_error(found.gram, sum) < 1e-13);
}

TEST_CASE("what cannot be collected is said by name") {
  const Model model = small::make();
  const Field text = to_field(small::text(100));
  const auto error = [&](const Field& data, Json params) {
    return small::error_of([&] { collect(model, data, std::move(params)); });
  };
  CHECK_THAT(error(text, {{"length", 10}, {"sites", "*.conv1d"}}), Contains("'layers.0.conv1d' is of kind conv1d"));
  CHECK_THAT(error(text, {{"length", 100}}), Contains("a window of length 100 needs at least 101"));
  CHECK_THAT(error(model.to_field(), {}), Contains("the data is of type 'model'; allowed: a text"));
  const Statistics some =
      statistics_from(collect(model, text, {{"length", 10}, {"sites", "*.in_proj"}}).at("statistics"));
  CHECK_THAT(small::error_of([&] { some.at(model.site("layers.0.out_proj")); }),
             Contains("nothing of site 'layers.0.out_proj'; they were collected at 2 sites"));
  SiteSpec other = model.site("layers.0.in_proj");
  other.shape = {4, 5};
  CHECK_THAT(small::error_of([&] { some.at(other); }), Contains("are of 6 inputs, the site has 5"));
}

}  // namespace colonnade
