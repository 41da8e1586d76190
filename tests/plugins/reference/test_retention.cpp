#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "colonnade/random.h"
#include "tests/support/plugins.h"
#include "tests/support/small_model.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade {

namespace {

using Catch::Matchers::Contains;

Scalar scalar_of(std::vector<double> examples, Better better = Better::higher) {
  Scalar scalar;
  const double n = static_cast<double>(examples.size());
  scalar.value = std::accumulate(examples.begin(), examples.end(), 0.0) / n;
  double squares = 0;
  for (const double each : examples) squares += (each - scalar.value) * (each - scalar.value);
  scalar.standard_error = std::sqrt(squares / (n - 1) / n);
  scalar.n = static_cast<std::int64_t>(examples.size());
  scalar.better = better;
  scalar.per_example = std::move(examples);
  return scalar;
}

// Right answers (1) or not (0): the share at `rate`, the same examples being hard for all.
std::vector<double> answers(double rate, std::uint64_t noise, std::int64_t count = 400) {
  const RandomStream hardness(7), own(noise);
  std::vector<double> result;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto index = static_cast<std::uint64_t>(i);
    result.push_back(0.8 * hardness.uniform(index) + 0.2 * own.uniform(index) < rate ? 1 : 0);
  }
  return result;
}

Value retention(const Scalar& compressed, const Scalar& base, const Scalar& tuned, Json params = Json::object()) {
  register_linked_plugin(colonnade_plugin);
  return small::run("reference/retention", std::move(params),
                    {{"compressed", to_field(compressed)}, {"base", to_field(base)}, {"tuned", to_field(tuned)}});
}

double share(const Value& value) {
  return scalar_from(value.at("share")).value;
}
std::string reason(const Value& value) {
  return table_from(value.at("gain")).column("undefined").cells.at(0);
}

}  // namespace

TEST_CASE("retention is the share of the gain: the tuned model keeps all, the base nothing, exactly") {
  const Scalar base = scalar_of(answers(0.2, 1)), tuned = scalar_of(answers(0.9, 2)), half = scalar_of(answers(0.6, 3));
  const Value value = retention(half, base, tuned);
  CHECK(share(value) == (half.value - base.value) / (tuned.value - base.value));
  CHECK(scalar_from(value.at("of_tuned")).value == half.value / tuned.value);
  for (const auto& [metric, kept] : {std::pair{tuned, 1.0}, {base, 0.0}}) {
    const Scalar end = scalar_from(retention(metric, base, tuned).at("share"));
    CHECK(end.value == kept);
    CHECK(*end.standard_error < 1e-15);
  }
  const Table gain = table_from(value.at("gain"));
  CHECK(gain.column("paired").cells.at(0) == true);
  CHECK(gain.column("gain").cells.at(0) == tuned.value - base.value);
}

TEST_CASE("what is better lower retains by the same formula") {
  std::vector<double> base(50), tuned(50), now(50);
  for (std::size_t i = 0; i < base.size(); ++i) {
    const double wave = 0.1 * std::sin(static_cast<double>(i));
    base[i] = 3 + wave, tuned[i] = 2 + wave * 0.9, now[i] = 2.25 + wave * 1.1;
  }
  const Value value =
      retention(scalar_of(now, Better::lower), scalar_of(base, Better::lower), scalar_of(tuned, Better::lower));
  CHECK(share(value) == Approx(0.75).epsilon(1e-2));
  CHECK(table_from(value.at("gain")).column("gain").cells.at(0).get<double>() > 0);
}

TEST_CASE("the standard error is the jackknife's, and far below that of independent metrics") {
  const auto b = answers(0.2, 1), t = answers(0.9, 2), c = answers(0.6, 3);
  const Scalar found = scalar_from(retention(scalar_of(c), scalar_of(b), scalar_of(t)).at("share"));
  const double n = static_cast<double>(b.size());
  const double sb = std::accumulate(b.begin(), b.end(), 0.0), st = std::accumulate(t.begin(), t.end(), 0.0),
               sc = std::accumulate(c.begin(), c.end(), 0.0);
  std::vector<double> left(b.size());
  for (std::size_t i = 0; i < b.size(); ++i) left[i] = (sc - c[i] - sb + b[i]) / (st - t[i] - sb + b[i]);
  const double mean = std::accumulate(left.begin(), left.end(), 0.0) / n;
  double squares = 0;
  for (const double each : left) squares += (each - mean) * (each - mean);
  // The jackknife and the first order agree to 1/n.
  CHECK(*found.standard_error == Approx(std::sqrt((n - 1) / n * squares)).epsilon(2 / n));
  CHECK(std::accumulate(found.per_example.begin(), found.per_example.end(), 0.0) / n == Approx(found.value));

  Scalar alone[3] = {scalar_of(c), scalar_of(b), scalar_of(t)};
  for (Scalar& each : alone) each.per_example.clear();
  const Value independent = retention(alone[0], alone[1], alone[2]);
  const double r = found.value, gain = alone[2].value - alone[1].value;
  CHECK(*scalar_from(independent.at("share")).standard_error ==
        Approx(std::sqrt(std::pow(*alone[0].standard_error, 2) + std::pow(r * *alone[2].standard_error, 2) +
                         std::pow((1 - r) * *alone[1].standard_error, 2)) /
               gain));
  CHECK(*scalar_from(independent.at("share")).standard_error > *found.standard_error);
  CHECK(table_from(independent.at("gain")).column("paired").cells.at(0) == false);

  // Examples that are not what the value is the mean of pair nothing.
  Scalar other = scalar_of(c);
  other.per_example.assign(c.size(), 0.5);
  CHECK(table_from(retention(other, scalar_of(b), scalar_of(t)).at("gain")).column("paired").cells.at(0) == false);
}

TEST_CASE("a gain that does not stand out, none, or one without an error is recorded as undefined, with the reason") {
  const Scalar base = scalar_of(answers(0.5, 1)), little = scalar_of(answers(0.55, 2));
  const Value value = retention(little, base, little);
  const Scalar share_of = scalar_from(value.at("share"));
  CHECK(std::isnan(share_of.value));
  CHECK(share_of.n == 0);
  CHECK(!share_of.standard_error);
  CHECK(std::isnan(scalar_from(value.at("of_tuned")).value));
  CHECK_THAT(reason(value), Contains("standard errors; more than 10 are needed"));
  CHECK(reason(retention(little, base, little, {{"least_errors", 0}})).empty());
  CHECK_THAT(reason(retention(base, little, base)), Contains("tuning gained nothing"));

  Scalar bare = scalar_of(answers(0.9, 3)), start = base;
  bare.standard_error.reset(), bare.per_example.clear();
  CHECK_THAT(reason(retention(bare, start, bare)), Contains("no standard error"));
  Scalar broken = base;
  broken.value = std::nan("");
  CHECK_THAT(reason(retention(broken, base, scalar_of(answers(0.95, 3)))), Contains("not a finite number"));
}

TEST_CASE("three metrics that do not measure the same have no retention") {
  const Scalar base = scalar_of(answers(0.2, 1)), tuned = scalar_of(answers(0.9, 2));
  CHECK_THAT(small::error_of([&] { retention(base, base, scalar_of(answers(0.9, 2, 100))); }),
             Contains("'tuned' measures something else: n = 100"));
  Scalar percent = base;
  percent.unit = "%";
  CHECK_THAT(small::error_of([&] { retention(base, percent, tuned); }), Contains("unit '%'"));
  Scalar neither[3] = {base, base, tuned};
  for (Scalar& each : neither) each.better = Better::neither;
  CHECK_THAT(small::error_of([&] { retention(neither[0], neither[1], neither[2]); }), Contains("has no gain"));
}

TEST_CASE("drift is a difference, its error that of the differences by example") {
  const auto before = answers(0.5, 1), now = answers(0.45, 2);
  register_linked_plugin(colonnade_plugin);
  const Value value = small::run("reference/drift", Json::object(),
                                 {{"now", to_field(scalar_of(now))}, {"before", to_field(scalar_of(before))}});
  const Scalar drift = scalar_from(value.at("change"));
  std::vector<double> differences(now.size());
  for (std::size_t i = 0; i < now.size(); ++i) differences[i] = now[i] - before[i];
  const Scalar expected = scalar_of(differences);
  CHECK(drift.value == Approx(expected.value).epsilon(1e-14));
  CHECK(*drift.standard_error == Approx(*expected.standard_error).epsilon(1e-14));
  CHECK(drift.per_example == differences);
}

}  // namespace colonnade
