#include "kernel/report/analysis.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "kernel/report/findings.h"
#include "tests/kernel/report/fixture.h"

namespace colonnade::host {

namespace {

// Arms whose values by seed are given, compared with the first.
StudyResults study_of(const std::vector<std::vector<double>>& by_arm) {
  StudyResults results;
  for (std::size_t arm = 0; arm < by_arm.size(); ++arm) {
    results.arm_order.push_back("arm " + std::to_string(arm));
    for (std::size_t seed = 0; seed < by_arm[arm].size(); ++seed) {
      TrialResult trial;
      trial.arm = results.arm_order.back();
      trial.seed = seed;
      trial.scalars["loss"].value = by_arm[arm][seed];
      trial.scalars["loss"].better = Better::lower;
      results.trials.push_back(std::move(trial));
    }
  }
  const Json declared = {{"metric", Json::array({"loss"})}, {"baseline", "arm 0"}, {"log", false}};
  results.report = {{"comparisons", Json::array({declared})}};
  return results;
}

}  // namespace

TEST_CASE("An answer is only given where the seeds could have given it", "[report]") {
  // Five seeds reach 2/32 at best, six 2/64.
  const auto five = comparisons_of(study_of({{1, 1, 1, 1, 1}, {2, 3, 2, 4, 2}}), false);
  REQUIRE(five.size() == 1);
  CHECK(five[0].arms[0].answer == Answer::underpowered);
  CHECK(five[0].seeds_needed == 6);
  const auto six = comparisons_of(study_of({{1, 1, 1, 1, 1, 1}, {2, 3, 2, 4, 2, 3}}), false);
  CHECK(six[0].arms[0].answer == Answer::differs);
  CHECK(six[0].arms[0].bootstrapped);
  const auto mixed = comparisons_of(study_of({{1, 1, 1, 1, 1, 1}, {2, 0, 2, 0, 2, 0}}), false);
  CHECK(mixed[0].arms[0].answer == Answer::none_shown);
  // Four comparisons under Holm need eight.
  const std::vector<double> base(6, 1.0), above = {2, 3, 2, 4, 2, 3};
  const auto four = comparisons_of(study_of({base, above, above, above, above}), false);
  CHECK(four[0].seeds_needed == 8);
  for (const ArmComparison& arm : four[0].arms) CHECK(arm.answer == Answer::underpowered);
}

TEST_CASE("Values that are not finite leave their seed out of the pairs", "[report]") {
  const auto compared = comparisons_of(study_of({{1, std::nan(""), 1, 1}, {2, 2, INFINITY, 3}}), false);
  REQUIRE(compared[0].arms.size() == 1);
  CHECK(compared[0].arms[0].paired.n == 2);
  CHECK(compared[0].arms[0].paired.mean_difference == 1.5);
  CHECK(comparisons_of(study_of({{std::nan("")}, {2}}), false)[0].arms.empty());
}

TEST_CASE("A comparison without pairs says why", "[report]") {
  const auto sentence = [](const std::vector<std::vector<double>>& by_arm, bool log) {
    StudyResults results = study_of(by_arm);
    results.report["comparisons"][0]["log"] = log;
    return key_findings(results, false);
  };
  using Catch::Contains;
  CHECK_THAT(sentence({{0, -1}, {2, 3}}, true), Contains("no value of `arm 0` is above 0, so none has a logarithm"));
  CHECK_THAT(sentence({{1, 2}, {0, -3}}, true), Contains("no value of another arm is above 0"));
  CHECK_THAT(sentence({{1, -2}, {-3, 4}}, true), Contains("in which both have a logarithm"));
  CHECK_THAT(sentence({{NAN}, {4}}, false), Contains("`arm 0` has no finite value of it"));
  CHECK_THAT(sentence({{1}, {NAN, 4}}, false), Contains("in which both have a finite value"));
  CHECK_THAT(sentence({{0, 1}, {2, 3}}, true), !Contains("not compared"));
}

TEST_CASE("A target against a baseline of zero cannot be judged", "[report]") {
  StudyResults results = study_of({{0, 0}, {1, 2}});
  Json target = {{"name", "half"}, {"metric", "loss"}, {"as", "reduction"},  {"baseline", "arm 0"},
                 {"note", ""},     {"value", 0.5},     {"better", "higher"}, {"arm", ""}};
  results.report = {{"targets", Json::array({target})}};
  const auto judged = targets_of(results, false);
  REQUIRE(judged.size() == 1);
  CHECK(judged[0].arms.empty());
  CHECK(judged[0].problem == "`loss` of its baseline `arm 0` is 0, to which nothing has a ratio");
  CHECK_THAT(key_findings(results, false), Catch::Contains("Target \"half\" cannot be judged"));
  CHECK(findings_json(results).at("targets").at(0).contains("problem"));
  results.report["targets"][0]["as"] = "value";
  CHECK(targets_of(results, false)[0].arms.size() == 2);
}

TEST_CASE("Examples are paired where values are their means", "[report]") {
  StudyResults results = study_of({{0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0}});
  for (TrialResult& trial : results.trials) {
    Scalar& loss = trial.scalars["loss"];
    const double shift = trial.arm == "arm 0" ? 0 : 1 + 0.1 * static_cast<double>(trial.seed);
    for (int i = 0; i < 50; ++i) loss.per_example.push_back(3.0 * i + shift);
    loss.value = 3.0 * 24.5 + shift;
  }
  const auto compared = comparisons_of(results, false);
  CHECK(compared[0].arms[0].paired_on_examples);
  // Example by example the difference is constant, though examples themselves vary a hundred times as much.
  CHECK(compared[0].arms[0].interval->high - compared[0].arms[0].interval->low < 0.5);
  results.trials[0].scalars["loss"].value += 1;  // a value that is no mean of its examples
  CHECK_FALSE(comparisons_of(results, false)[0].arms[0].paired_on_examples);
}

TEST_CASE("Measured metrics are analysed apart", "[report]") {
  const StudyResults results = small_results();
  const auto plain = comparisons_of(results, false), measured = comparisons_of(results, true);
  REQUIRE(plain.size() == 1);
  REQUIRE(measured.size() == 1);
  CHECK(plain[0].metric == "nats");
  CHECK(measured[0].metric == "latency");
  CHECK(targets_of(results, false).size() == 2);
  CHECK(targets_of(results, true).size() == 1);
}

TEST_CASE("Targets are held against means, reductions and ratios", "[report]") {
  const auto targets = targets_of(small_results(), false);
  const Target& half = targets[0];
  REQUIRE(half.arms.size() == 3);  // all but the baseline and the arm that failed
  CHECK(half.arms[0].reached == Approx(0.5));
  CHECK(half.arms[0].met);
  CHECK(half.arms[2].reached == Approx(0.75));
  const Target& nat = targets[1];
  REQUIRE(nat.arms.size() == 1);
  CHECK(nat.arms[0].arm == "both");
  CHECK_FALSE(nat.arms[0].met);
  CHECK(nat.out_of_reach);
}

TEST_CASE("Effects take the arms that have every factor and the seeds that all of them have", "[report]") {
  StudyResults results = small_results();
  const auto complete = effects_of(results, false);
  REQUIRE(complete.size() == 1);
  REQUIRE(complete[0].effects.size() == 3);
  CHECK(complete[0].effects[0].size.n == 3);
  REQUIRE(complete[0].over_the_sum.has_value());
  results.trials[0].scalars.clear();  // one seed of base
  CHECK(effects_of(results, false)[0].effects[0].size.n == 2);
  std::erase_if(results.trials, [](const TrialResult& trial) { return trial.arm == "both"; });
  const auto incomplete = effects_of(results, false);
  CHECK(incomplete[0].effects.empty());
  CHECK(incomplete[0].problem.find("4 combinations") != std::string::npos);
}

TEST_CASE("The best arm is counted over seeds", "[report]") {
  const auto best = best_arms(study_of({{1, 5, 1}, {2, 2, 2}}), false);
  REQUIRE(best.size() == 1);
  CHECK(best[0].arms == std::vector<std::string>{"arm 1"});
  CHECK(best[0].seeds == 3);
  CHECK(best[0].seeds_won == 1);
  const auto tied = best_arms(study_of({{1}, {2}, {1}}), false);
  CHECK(tied[0].arms == std::vector<std::string>{"arm 0", "arm 2"});
  CHECK(tied[0].second == "arm 1");
  CHECK(best_arms(study_of({{1}, {1}}), false).empty());
}

TEST_CASE("A lead under one seed is held against the metric's standard errors, paired on examples", "[report]") {
  StudyResults results = study_of({{0}, {0}});
  for (TrialResult& trial : results.trials) {
    Scalar& loss = trial.scalars["loss"];
    const double shift = trial.arm == "arm 0" ? 0 : 0.5;
    for (int i = 0; i < 50; ++i) loss.per_example.push_back(i % 10 + shift + 0.001 * (i % 7) * shift);
    const Summary summary = summarise(loss.per_example);
    loss.value = summary.mean;
    loss.standard_error = summary.deviation / std::sqrt(50.0);
  }
  const auto paired = best_arms(results, false);
  REQUIRE(paired.size() == 1);
  CHECK(paired[0].lead.from == UncertaintyOf::paired_examples);
  CHECK(paired[0].lead.is_shown());
  // The obvious way: the standard error of the mean of the examples' differences.
  std::vector<double> differences;
  const auto &before = results.trials[0].scalars["loss"], &after = results.trials[1].scalars["loss"];
  for (int i = 0; i < 50; ++i) differences.push_back(after.per_example[i] - before.per_example[i]);
  const double error = summarise(differences).deviation / std::sqrt(50.0);
  CHECK(*paired[0].lead.uncertainty == Approx(1.959964 * error).epsilon(1e-5));
  for (TrialResult& trial : results.trials) trial.scalars["loss"].per_example.clear();
  const auto apart = best_arms(results, false);
  CHECK(apart[0].lead.from == UncertaintyOf::standard_errors);
  CHECK(*apart[0].lead.uncertainty ==
        Approx(1.959964 * std::hypot(*before.standard_error, *after.standard_error)).epsilon(1e-5));
  CHECK_FALSE(apart[0].lead.is_shown());
  CHECK(key_findings(results, false).find("no arm is shown to be lowest") != std::string::npos);
}

TEST_CASE("A lead over seeds is held against their interval, an exact count stands by itself", "[report]") {
  const auto noisy = best_arms(study_of({{1, 5, 3}, {2, 4, 3.5}}), false);
  CHECK(noisy[0].lead.from == UncertaintyOf::seeds);
  CHECK_FALSE(noisy[0].lead.is_shown());
  const auto clear = best_arms(study_of({{1, 5, 3}, {2, 6.01, 3.99}}), false);
  CHECK(clear[0].lead.is_shown());
  const auto exact = best_arms(study_of({{10}, {12}}), false);
  CHECK(exact[0].lead.from == UncertaintyOf::unknown);
  CHECK(exact[0].lead.is_shown());
}

TEST_CASE("What is zero by construction, or differs by rounding, is no finding", "[report]") {
  CHECK(best_arms(study_of({{0, 0}, {3, 3}, {0, 0}}), false).empty());
  StudyResults results = study_of({{1.0}, {1.0 + 1e-8}});
  CHECK(best_arms(results, false).size() == 1);  // a count, or nobody says how exact it is
  for (TrialResult& trial : results.trials) trial.scalars["loss"].standard_error = 0.01;
  CHECK(best_arms(results, false).empty());
}

TEST_CASE("Factors outside declared effects are weighed by what they explain", "[report]") {
  StudyResults results;
  for (int arm = 0; arm < 12; ++arm) {
    TrialResult trial;
    trial.arm = "arm " + std::to_string(arm);
    trial.point = {{"rank", 4 << (arm % 3)}, {"alone", true}};
    trial.scalars["loss"].value = (arm % 3) + 0.01 * arm;
    trial.scalars["loss"].better = Better::lower;
    results.arm_order.push_back(trial.arm);
    results.trials.push_back(std::move(trial));
  }
  const auto impacts = factor_impacts(results, false);
  REQUIRE(impacts.size() == 1);
  CHECK(impacts[0].factor == "rank");
  CHECK(impacts[0].levels.size() == 3);
  CHECK(impacts[0].impact.explained > 0.99);
  CHECK(impacts[0].answer == Answer::differs);
  results.report["effects"] =
      Json::array({{{"factors", Json::array({"rank"})}, {"metric", Json::array()}, {"log", false}}});
  CHECK(factor_impacts(results, false).empty());
}

}  // namespace colonnade::host
