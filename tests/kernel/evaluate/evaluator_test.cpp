#include <catch2/catch.hpp>

#include "colonnade/error.h"
#include "tests/kernel/evaluate/support.h"

using namespace colonnade;
using namespace colonnade::host;
using namespace colonnade::host::testing;

using Names = std::vector<std::string>;

TEST_CASE("A node with many users is computed once", "[evaluator]") {
  Bench bench;
  const NodeRef base = bench.node("step", {{"value", 2}, {"name", "base"}, {"trail", bench.trail()}});
  std::vector<NodeRef> users;
  for (int i = 0; i < 5; ++i) users.push_back(bench.node("join", {{"value", i}, {"trail", bench.trail()}}, {base}));
  const NodeRef all = bench.node("join", Json::object(), users);
  bench.evaluate({all, users[3]});
  CHECK(bench.value(all) == 5 * 2 + 0 + 1 + 2 + 3 + 4);
  CHECK(bench.value(users[3]) == 5);
  CHECK(bench.recorder.computed.size() == 7);
  CHECK(bench.trail_lines().size() == 6);
  CHECK(bench.evaluator->state(base) == NodeState::computed);
}

TEST_CASE("What was evaluated before is found at once, without a worker", "[evaluator]") {
  Bench bench;
  const NodeRef base = bench.node("step", {{"value", 2}});
  const NodeRef user = bench.node("join", {{"value", 3}}, {base});
  bench.evaluate({user});
  bench.restart();
  bench.evaluator->request(user);
  CHECK(bench.evaluator->state(user) == NodeState::found);
  CHECK(bench.evaluator->result(user)->found);
  CHECK_FALSE(bench.evaluator->wait());
  CHECK(bench.value(user) == 5);
  CHECK(bench.evaluator->workers_started() == 0);
  CHECK(bench.recorder.found == Names{"step", "join"});
}

TEST_CASE("Several workers give the results of one", "[evaluator]") {
  const auto contents = [](int workers) {
    Bench bench;
    bench.options.workers = workers;
    bench.restart();
    std::vector<NodeRef> nodes, draws;
    for (std::uint64_t seed = 0; seed < 6; ++seed) {
      draws.push_back(bench.node("draw", Json::object(), {}, seed));
      nodes.push_back(bench.node("join", {{"value", seed}, {"ms", 5 * seed}}, draws));
    }
    bench.evaluate(nodes);
    std::vector<std::string> hashes;
    for (const NodeRef& node : nodes) {
      hashes.push_back(bench.evaluator->result(node)->trace->manifest.fields.at("value").content.hex());
    }
    CHECK(bench.evaluator->workers_started() == workers);
    return hashes;
  };
  CHECK(contents(1) == contents(3));
}

TEST_CASE("Independent nodes run at the same time", "[evaluator]") {
  Bench bench;
  bench.options.workers = 2;
  bench.restart();
  bench.evaluate({bench.node("step", {{"name", "a"}, {"ms", 1000}, {"trail", bench.trail()}}),
                  bench.node("step", {{"name", "b"}, {"ms", 1000}, {"trail", bench.trail()}})});
  double latest_start = 0, earliest_end = 1e300;
  for (const std::string& line : bench.trail_lines()) {
    std::istringstream words(line);
    std::string name, pid;
    double start = 0, end = 0;
    words >> name >> pid >> start >> end;
    latest_start = std::max(latest_start, start);
    earliest_end = std::min(earliest_end, end);
  }
  CHECK(latest_start < earliest_end);
}

TEST_CASE("An op's error fails its node and what depends on it, and nothing else", "[evaluator]") {
  Bench bench;
  const NodeRef bad = bench.node("fail");
  const NodeRef user = bench.node("join", {{"value", 1}}, {bad}), next = bench.node("join", {{"value", 2}}, {user});
  const NodeRef good = bench.node("step", {{"value", 3}});
  bench.evaluate({next, good});
  CHECK(bench.failure(bad) == "op probe/fail: it was asked to fail");
  CHECK(bench.failure(next) ==
        "not evaluated, because " + bad->short_name() + " failed: op probe/fail: it was asked to fail");
  CHECK(bench.evaluator->failure(next)->origin == bad);
  CHECK(bench.value(good) == 3);
  CHECK(bench.recorder.failed == Names{"fail", "join", "join"});
  CHECK_THROWS_AS(bench.evaluator->fetch({next, "value"}), Error);
}

TEST_CASE("A damaged value is computed again, and then what needs it", "[evaluator]") {
  Bench bench;
  const NodeRef block = bench.node("block", {{"fill", 3}});
  bench.evaluate({block});
  const auto blobs = files_below(bench.folder() / "store" / "blobs");
  REQUIRE(blobs.size() == 1);
  std::filesystem::permissions(blobs[0], std::filesystem::perms::owner_all);
  std::string bytes = read_bytes(blobs[0]);
  bytes.back() ^= 1;
  write_bytes(blobs[0], bytes);
  bench.restart();
  const NodeRef total = bench.node("total", Json::object(), {block});
  bench.evaluate({total});
  CHECK(bench.value(total) == 3 * 8192);
  CHECK(bench.recorder.computed == Names{"block", "total"});
  CHECK(bench.recorder.messages.size() == 1);
}

TEST_CASE("Bytes that are gone are made again only where somebody reads them", "[evaluator]") {
  Bench bench;
  const NodeRef block = bench.node("block", {{"fill", 2}});
  const NodeRef total = bench.node("total", Json::object(), {block});
  bench.evaluate({total});
  for (const auto& blob : files_below(bench.folder() / "store" / "blobs")) std::filesystem::remove(blob);
  bench.restart();
  bench.evaluate({total});
  CHECK(bench.recorder.computed.empty());
  const NodeRef again = bench.node("total", {{"trail", bench.trail()}}, {block});
  bench.evaluate({again});
  CHECK(bench.recorder.computed == Names{"block", "total"});
  CHECK(bench.value(again) == 2 * 8192);
}

TEST_CASE("fetch mends what it reads", "[evaluator]") {
  Bench bench;
  const NodeRef block = bench.node("block");
  bench.evaluate({block});
  bench.restart();
  bench.evaluate({block});
  for (const auto& blob : files_below(bench.folder() / "store" / "blobs")) std::filesystem::remove(blob);
  CHECK(bench.evaluator->fetch({block, "value"}).tensors.at("tensor").elements() == 8192);
  CHECK(bench.recorder.computed == Names{"block"});
}

TEST_CASE("An op that is not what it was is named and its new value not served", "[evaluator]") {
  Bench bench;
  const NodeRef moody = bench.node("moody");
  bench.evaluate({moody});
  for (const auto& blob : files_below(bench.folder() / "store" / "blobs")) std::filesystem::remove(blob);
  bench.restart();
  const NodeRef total = bench.node("total", Json::object(), {moody});
  bench.evaluate({total});
  REQUIRE(bench.recorder.nondeterminism.size() == 1);
  CHECK(bench.recorder.nondeterminism[0].fields == Names{"value"});
  CHECK(bench.failure(moody) ==
        "op probe/moody of plugin probe is not deterministic: evaluated again under the same key, its field value came "
        "out "
        "different, and the recorded bytes are gone");
  CHECK(bench.evaluator->failure(total)->origin == moody);
}

TEST_CASE("Evaluating again although traces are there tells a nondeterministic op", "[evaluator]") {
  Bench bench;
  const NodeRef moody = bench.node("moody"), step = bench.node("step", {{"value", 1}});
  bench.evaluate({moody, step});
  bench.options.ignore_traces = true;
  bench.restart();
  bench.evaluate({moody, step});
  CHECK(bench.recorder.computed.size() == 2);
  CHECK(bench.recorder.nondeterminism.size() == 1);
}

TEST_CASE("A file that changes while its op runs fails the node", "[evaluator]") {
  Bench bench;
  const std::filesystem::path file = bench.folder() / "input.txt";
  write_bytes(file, "one");
  const NodeRef size = bench.node("size_of", {{"file", file.string()}, {"ms", 300}});
  bench.recorder.on_sign = [&] { write_bytes(file, "three"); };
  bench.evaluate({size});
  CHECK(bench.failure(size) == "op probe/size_of: what its parameter 'file' names changed during this run; run again");
  bench.restart();
  bench.evaluate({size});
  CHECK(bench.value(size) == 5);
}

TEST_CASE("A run means the contents that a file had when it was first asked for", "[evaluator]") {
  Bench bench;
  const std::filesystem::path file = bench.folder() / "input.txt";
  write_bytes(file, "one");
  const NodeRef before = bench.node("size_of", {{"file", file.string()}});
  bench.evaluate({before});
  CHECK(bench.value(before) == 3);
  write_bytes(file, "three");
  const NodeRef after = bench.node("size_of", {{"file", file.string()}, {"ms", 1}});
  bench.evaluate({after});
  CHECK(bench.failure(after) == "op probe/size_of: what its parameter 'file' names changed during this run; run again");
  bench.restart();
  bench.evaluate({before, after});
  CHECK(bench.value(before) == 5);
  CHECK(bench.value(after) == 5);
}

TEST_CASE("A file that is not there fails its node only", "[evaluator]") {
  Bench bench;
  const NodeRef size = bench.node("size_of", {{"file", (bench.folder() / "missing").string()}});
  bench.evaluate({size});
  CHECK_THAT(bench.failure(size), Catch::Contains("missing"));
  CHECK(bench.evaluator->workers_started() == 0);
}

TEST_CASE("Progress and its metrics arrive", "[evaluator]") {
  Bench bench;
  const NodeRef count = bench.node("count", {{"steps", 40}, {"ms", 20}});
  bench.evaluate({count});
  CHECK(bench.value(count) == 40);
  CHECK(bench.recorder.progress.size() >= 2);
  CHECK(bench.recorder.progress.size() <= 10);  // they are rate-limited
  CHECK(bench.recorder.last_metric.first == "height");
}

TEST_CASE("A forecast says what is found, what must be computed and what it will cost", "[evaluator][forecast]") {
  using Status = NodeForecast::Status;
  Bench bench;
  bench.evaluate({bench.node("block", {{"bytes", 100000}})});
  const NodeRef found = bench.node("block", {{"bytes", 100000}}), missing = bench.node("block", {{"bytes", 200000}});
  const NodeRef known = bench.node("total", Json::object(), {found}),
                unknown = bench.node("total", Json::object(), {missing});
  const auto forecasts = forecast({known, unknown, found}, bench.options, probe_catalogue(), *bench.store);
  REQUIRE(forecasts.size() == 4);
  CHECK(forecasts[0].node == found);
  CHECK(forecasts[0].status == Status::found);
  CHECK(forecasts[0].users == 2);
  CHECK(forecasts[1].status == Status::to_compute);
  CHECK_FALSE(forecasts[1].seconds.has_value());  // never evaluated here
  CHECK(forecasts[2].status == Status::to_compute);
  CHECK(forecasts[2].bytes.value() == Approx(200000).epsilon(0.01));
  const double past = bench.evaluator->result(found)->trace->seconds;
  CHECK(forecasts[2].seconds.value().likely == Approx(2 * past));
  CHECK(forecasts[2].seconds.value().low == forecasts[2].seconds.value().high);
  CHECK(forecasts[3].status == Status::unknown);
}

TEST_CASE("A forecast says how far the rates of the past lie apart", "[evaluator][forecast]") {
  Bench bench;
  const NodeRef small = bench.node("block", {{"bytes", 1000}}), large = bench.node("block", {{"bytes", 500000}});
  bench.evaluate({small, large});
  const double small_rate = bench.evaluator->result(small)->trace->seconds / 1000,
               large_rate = bench.evaluator->result(large)->trace->seconds / 500000;
  const NodeRef other = bench.node("block", {{"bytes", 20000}});
  const auto cost = forecast({other}, bench.options, probe_catalogue(), *bench.store).front().seconds.value();
  CHECK(cost.low == Approx(20000 * std::min(small_rate, large_rate)));
  CHECK(cost.high == Approx(20000 * std::max(small_rate, large_rate)));
  CHECK(cost.low <= cost.likely);
  CHECK(cost.likely <= cost.high);
}

TEST_CASE("Evaluations with a node's own parameters count alone in a forecast", "[evaluator][forecast]") {
  Bench bench;
  const NodeRef input = bench.node("step"), other_input = bench.node("step", {{"value", 1}});
  const NodeRef slow = bench.node("join", {{"ms", 50}}, {input}), quick = bench.node("join", {{"ms", 0}}, {input});
  bench.evaluate({slow, quick});
  const NodeRef again = bench.node("join", {{"ms", 50}}, {other_input});
  const auto forecasts = forecast({again}, bench.options, probe_catalogue(), *bench.store);
  CHECK(forecasts.back().node == again);
  CHECK(forecasts.back().seconds.value().likely == bench.evaluator->result(slow)->trace->seconds);
}
