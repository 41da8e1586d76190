#include <catch2/catch.hpp>
#include <numeric>

#include "realize_support.h"

namespace colonnade::realize {

namespace {

double column_sum(const Value& value, const std::string& name, const std::string& where = "") {
  const Table report = table_from(value.at("report"));
  double sum = 0;
  for (std::size_t i = 0; i < report.rows(); ++i) {
    if (!where.empty() && !report.column(where).cells.at(i).get<bool>()) continue;
    sum += report.column(name).cells.at(i).get<double>();
  }
  return sum;
}

Model difference(std::int64_t d_model = 48) {
  const Model base = mamba(d_model);
  return relative(tuned(base), base);
}

constexpr double patch_header = 82;

}  // namespace

TEST_CASE("a fresh model takes its numbers in fp32, and a little for each site") {
  const Model model = mamba();
  const Value value = stored(model);
  std::int64_t elements = 0;
  for (const SiteSpec& site : model.sites()) elements += site.elements();
  const double sites = static_cast<double>(model.sites().size());
  CHECK(number(value, "whole") <= 4 * static_cast<double>(elements) + 2 * sites);
  CHECK(number(value, "difference") == number(value, "whole") + patch_header);
  CHECK(number(value, "whole") == column_sum(value, "bytes"));
  CHECK(number(value, "sites") == column_sum(value, "bytes", "chosen"));
  CHECK(number(value, "sites_compression") ==
        Approx(1 - number(value, "sites") / column_sum(value, "dense", "chosen")).epsilon(1e-12));
}

TEST_CASE("a thinned difference takes at most 1.2 times the bound at 99.5 %, in every type") {
  const Model start = difference(192), thin = run_on("dare/dare", start, {{"drop_rate", 0.995}});
  for (const char* values : {"fp32", "fp16", "bf16", "int8", "sign"}) {
    const Value value = stored(thin, {{"values", values}}, &start);
    INFO(values << ": " << number(value, "difference") << " bytes, bound " << number(value, "bound"));
    CHECK(number(value, "sites") <= 1.2 * number(value, "bound") + 4 * static_cast<double>(thin.sites().size()));
    const Value seeded = stored(thin, {{"values", values}, {"positions", "seed"}}, &start);
    CHECK(number(seeded, "sites") < number(value, "sites"));
    // Every tensor was tuned, so the dense difference is the dense model, emptied biases included.
    CHECK(number(value, "difference_compression") ==
          Approx(1 - number(value, "difference") / column_sum(value, "dense")).epsilon(1e-12));
  }
  CHECK(number(stored(thin), "nominal_difference_compression") == Approx(0.995).margin(1e-3));
}

TEST_CASE("what counts as the difference are the tensors that differ, also where compression emptied them") {
  const Model base = mamba();
  Model tuned_model = base.mutable_copy();
  const std::string site = "backbone.layers.0.mixer.in_proj";
  tuned_model.writable(site).sparse.mul_(1.01);
  const Model start = relative(tuned_model, base);
  const Value before = stored(start);
  const double dense = 4.0 * static_cast<double>(start.site(site).elements());
  CHECK(column_sum(before, "dense", "differs") == dense);
  CHECK(number(before, "difference_compression") == Approx(1 - number(before, "difference") / dense));
  const Model empty = run_on("dare/dare", start, {{"drop_rate", 1.0}});
  const Value after = stored(empty, Json::object(), &start);
  CHECK(number(after, "difference") == patch_header + 2.0 * static_cast<double>(start.sites().size()));
  CHECK(number(after, "difference_compression") == Approx(1 - number(after, "difference") / dense));
  CHECK(number(after, "nominal_difference") == 0);
}

TEST_CASE("low rank takes its factors, and an adapter what it folds to") {
  const Model base = mamba();
  const std::string site = "backbone.layers.0.mixer.in_proj";
  const Model low = run_on("nullu/truncate", base, {{"on", "effective"}, {"rank", 4}, {"sites", site}});
  const Value value = stored(low, {{"sites", site}, {"values", "fp16"}});
  const SiteSpec& spec = base.site(site);
  const std::int64_t numbers = 4 * (spec.rows() + spec.columns());
  CHECK(number(value, "nominal_sites") == static_cast<double>(numbers));
  CHECK(number(value, "sites") == static_cast<double>(2 * numbers + 4));
  Model adapted = run_on("lora/lora", relative(base, base), {{"rank", 2}, {"sites", site}}).mutable_copy();
  small::randomise_adapters(adapted, 1);
  const Value with_adapter = stored(adapted);
  CHECK(number(with_adapter, "nominal_difference") == static_cast<double>(2 * (spec.rows() + spec.columns())));
}

TEST_CASE("rounding is idempotent, keeps zeros, and stores as many bytes as what it came from") {
  const Model thin = run_on("dare/dare", difference(), {{"drop_rate", 0.9}});
  const Model model = run_on("nullu/truncate", thin, {{"on", "effective"}, {"rank", 2}, {"sites", "*.x_proj"}});
  for (const char* values : {"fp32", "fp16", "bf16", "int8", "sign"}) {
    const Model once = rounded(model, values), twice = rounded(once, values);
    CHECK(same_weights(once, twice));
    if (std::string(values) == "fp32") CHECK(same_weights(once, model));
    CHECK(number(stored(once, {{"values", values}}), "difference") ==
          number(stored(model, {{"values", values}}), "difference"));
    for (const SiteSpec& site : model.sites()) {
      const Tensor zero = model.weight(site.name).sparse == 0;
      CHECK(once.weight(site.name).sparse.masked_select(zero).count_nonzero().item<std::int64_t>() == 0);
    }
  }
}

TEST_CASE("a model of zeros, and one with NaN") {
  Model zero = mamba().mutable_copy();
  for (const SiteSpec& site : zero.sites()) zero.writable(site.name).sparse.zero_();
  const Value value = stored(zero, {{"values", "sign"}});
  CHECK(number(value, "whole") == 2.0 * static_cast<double>(zero.sites().size()));
  CHECK(same_weights(rounded(zero, "int8"), zero));
  Model broken = mamba().mutable_copy();
  broken.writable("backbone.norm_f").sparse[0] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THAT(small::error_of([&] { stored(broken); }),
             Catch::Matchers::Contains("NaN") && Catch::Matchers::Contains("backbone.norm_f"));
}

}  // namespace colonnade::realize
