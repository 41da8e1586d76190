#include <catch2/catch.hpp>

#include "kernel/report/sharing_section.h"
#include "kernel/study/sharing.h"

namespace colonnade::host {

namespace {

Hash named(const std::string& name) {
  return hash_bytes(name);
}

// Nodes: base (10 s) <- tuned (5 s); a, b on tuned (1 s, 2 s); c on a (3 s); the two arms' measures.
RunHistory history() {
  RunHistory run;
  const auto add = [&](const std::string& name, const std::string& op, double seconds,
                       const std::vector<std::string>& inputs) {
    NodeRecord node;
    node.structure = named(name);
    node.op = op;
    node.seconds = seconds;
    for (const std::string& input : inputs) node.inputs.push_back({"model", named(input), "model"});
    run.index[node.structure] = run.nodes.size();
    run.nodes.push_back(std::move(node));
  };
  add("base", "train/train", 10, {});
  add("tuned", "train/train", 5, {"base"});
  add("a", "dare/dare", 1, {"tuned"});
  add("b", "dare/dare", 2, {"tuned"});
  add("c", "nullu/truncate", 3, {"a"});
  add("size", "cost/size", 0.5, {"b"});
  const auto trial = [&](const std::string& arm, const std::vector<std::string>& metrics) {
    TrialRecord record;
    record.arm = arm;
    for (const std::string& metric : metrics) record.metrics.push_back({metric, named(metric), "model"});
    run.trials.push_back(std::move(record));
  };
  trial("tuned", {"tuned"});
  trial("one", {"a", "c"});
  trial("two", {"c"});
  DecisionRecord asked;
  asked.arm = "two";
  asked.needs = {{"", named("size"), "value"}};
  run.decisions.push_back(asked);
  return run;
}

const SharingRow& row(const SharingResult& sharing, const std::string& op) {
  for (const SharingRow& each : sharing.rows) {
    if (each.op == op) return each;
  }
  FAIL("no row of " << op);
  throw;
}

}  // namespace

TEST_CASE("what arms would have taken one by one, and with what they share evaluated once") {
  const Json declared =
      Json::array({{{"title", "orders"}, {"arms", {"one", "two"}}, {"beyond", "tuned"}},
                   {{"title", "all"}, {"arms", {"one", "two"}}, {"beyond", ""}}});
  const auto found = sharing_of(history(), declared);
  REQUIRE(found.size() == 2);
  REQUIRE(found[0].rows.size() == 3);
  // "one" has a and c, "two" the same and, by its question, b and its size.
  CHECK(row(found[0], "dare/dare").alone == 3);
  CHECK(row(found[0], "dare/dare").shared == 2);
  CHECK(row(found[0], "dare/dare").seconds_alone == 1 + 1 + 2);
  CHECK(row(found[0], "dare/dare").seconds_shared == 1 + 2);
  CHECK(row(found[0], "nullu/truncate").alone == 2);
  CHECK(row(found[0], "nullu/truncate").shared == 1);
  CHECK(row(found[0], "cost/size").alone == 1);
  CHECK(row(found[1], "train/train").alone == 4);
  CHECK(row(found[1], "train/train").seconds_alone == 30);
  CHECK(row(found[1], "train/train").seconds_shared == 15);

  const std::string counts = sharing_section(found[0], false), seconds = sharing_section(found[0], true);
  CHECK_THAT(counts, Catch::Contains("they are 6 evaluations, with what they share evaluated once 4"));
  CHECK_THAT(counts, Catch::Contains("| nullu/truncate | 2 | 1 |"));
  CHECK_THAT(counts, !Catch::Contains("seconds") && !Catch::Contains(" s,"));
  CHECK_THAT(seconds, Catch::Contains("take 10.50 s") && Catch::Contains("once 6.50 s"));
}

TEST_CASE("arms that did not come so far share nothing") {
  const auto found =
      sharing_of(RunHistory(), Json::array({{{"title", "orders"}, {"arms", {"one"}}, {"beyond", "tuned"}}}));
  REQUIRE(found.size() == 1);
  CHECK(found[0].rows.empty());
}

}  // namespace colonnade::host
