#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <catch2/catch.hpp>

#include <chrono>
#include <filesystem>
#include <thread>

#include "kernel/store/dropper.h"
#include "tests/kernel/evaluate/support.h"

using namespace colonnade;
using namespace colonnade::host;
using namespace colonnade::host::testing;
using Catch::Contains;

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kBlock = 1 << 20;

// Blocks, each with a sum; what a study does with models that it only passes through.
struct Sums {
  explicit Sums(Bench& bench, int count = 6) {
    for (int i = 0; i < count; ++i) {
      blocks.push_back(bench.node("block", {{"bytes", kBlock}, {"fill", i + 1}}));
      sums.push_back(bench.node("total", {{"trail", bench.trail()}}, {blocks.back()}));
    }
  }
  std::vector<NodeRef> blocks, sums;
};

void set_quota(Bench& bench, std::uint64_t bytes) {
  bench.options.quota.bytes = bytes;
  bench.options.quota.grace_seconds = 0;
  bench.restart();
}

std::vector<fs::path> blob_files(const Bench& bench) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(bench.store->folder() / "blobs")) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  return files;
}

bool is_there(const Bench& bench, const NodeRef& node) {
  return bench.store->has_blobs(bench.evaluator->result(node)->trace->manifest);
}

std::string told(const Bench& bench) {
  std::string text;
  for (const std::string& message : bench.recorder.messages) text += message + "\n";
  return text;
}

std::string content(const Bench& bench, const NodeRef& node) {
  return bench.evaluator->result(node)->trace->manifest.fields.at("value").content.hex();
}

}  // namespace

TEST_CASE("Under a small quota values come and go, and the results are the same bytes", "[dropping]") {
  Bench free, tight;
  const Sums expected(free), sums(tight);
  free.evaluate(expected.sums);
  set_quota(tight, 2 * kBlock);
  tight.evaluate(sums.sums);
  for (std::size_t i = 0; i < sums.sums.size(); ++i)
    CHECK(content(tight, sums.sums[i]) == content(free, expected.sums[i]));
  CHECK(blob_files(free).size() == 6);
  // The quota is soft: how many are left depends on how often the store could be looked through.
  CHECK(blob_files(tight).size() < 6);
  CHECK_THAT(told(tight), Contains("has reached its quota"));

  // What is found stays found, and computes nothing.
  set_quota(tight, 2 * kBlock);
  tight.evaluate(sums.sums);
  CHECK(tight.evaluator->workers_started() == 0);
  CHECK(tight.recorder.computed.empty());
  // What is wanted again is computed again, and comes out as it was.
  const NodeRef again = tight.node("total", {{"trail", "-"}}, {sums.blocks[0]});
  tight.evaluate({again});
  CHECK(content(tight, again) == content(tight, sums.sums[0]));
  CHECK(tight.recorder.nondeterminism.empty());
  CHECK(tight.recorder.failed.empty());
}

TEST_CASE("A value that is read later in the same evaluation is made again below others that are gone", "[dropping]") {
  Bench bench;
  set_quota(bench, kBlock / 2);
  const Sums sums(bench, 3);
  bench.evaluate(sums.sums);
  // After each look through the store dropping pauses, for longer on a slow machine: a little more work until all is
  // gone.
  for (int i = 1; is_there(bench, sums.blocks[1]) && i <= 50; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    bench.evaluate({bench.node("total", {{"trail", std::string(static_cast<std::size_t>(i), '+')}}, {sums.blocks[2]})});
  }
  CHECK_FALSE(is_there(bench, sums.blocks[0]));
  REQUIRE_FALSE(is_there(bench, sums.blocks[1]));
  const NodeRef late = bench.node("total", {{"trail", "-"}}, {sums.blocks[1]});
  bench.evaluator->request(late);
  while (bench.evaluator->wait()) {
  }
  CHECK(bench.value(late) == 2.0 * kBlock);
  for (const std::string& message : bench.recorder.messages) CHECK_THAT(message, !Contains("evaluating"));
}

TEST_CASE("An evaluation that is killed while values come and go ends with the same bytes", "[dropping]") {
  constexpr int kKills = 4;
  constexpr auto kBetween = std::chrono::milliseconds(120);
  const ScratchFolder scratch;
  Bench free;
  const Sums expected(free);
  free.evaluate(expected.sums);
  for (int i = 0; i < kKills; ++i) {
    const pid_t coordinator = ::fork();
    if (coordinator == 0) {
      Bench bench(scratch.path());
      set_quota(bench, kBlock);
      bench.evaluate(Sums(bench).sums);
      ::_exit(0);
    }
    std::this_thread::sleep_for(kBetween * (i + 1));
    ::kill(coordinator, SIGKILL);
    int status = 0;
    ::waitpid(coordinator, &status, 0);
  }
  Bench bench(scratch.path());
  set_quota(bench, kBlock);
  const Sums sums(bench);
  bench.evaluate(sums.sums);
  for (std::size_t i = 0; i < sums.sums.size(); ++i) {
    CHECK(content(bench, sums.sums[i]) == content(free, expected.sums[i]));
  }
  CHECK(bench.recorder.nondeterminism.empty());
  CHECK(bench.store->verify().empty());
}

TEST_CASE("What is wanted, kept, slow, measured or young is never dropped", "[dropping]") {
  Bench bench;
  const Sums sums(bench, 2);
  SECTION("wanted") {
    set_quota(bench, 1);
    bench.evaluate(sums.blocks);
    for (const NodeRef& block : sums.blocks) CHECK(is_there(bench, block));
    CHECK_THAT(told(bench), Contains("the store holds ") && Contains("its quota is 1 bytes"));
  }
  SECTION("kept") {
    bench.evaluate(sums.sums);
    const Hash kept = bench.evaluator->result(sums.blocks[1])->key;
    bench.options.quota.kept_keys = [=] { return std::set<Hash>{kept}; };
    set_quota(bench, 1);
    bench.evaluate({bench.node("total", {{"trail", "-"}}, {bench.node("block", {{"bytes", kBlock}, {"fill", 9}})})});
    bench.evaluator->request(sums.sums[1]);
    bench.evaluator->request(sums.sums[0]);
    CHECK(is_there(bench, sums.blocks[1]));
    CHECK_FALSE(is_there(bench, sums.blocks[0]));
  }
  SECTION("slow") {
    bench.options.quota.most_seconds = 0;
    set_quota(bench, 1);
    bench.evaluate(sums.sums);
    for (const NodeRef& block : sums.blocks) CHECK(is_there(bench, block));
  }
  SECTION("young") {
    bench.options.quota.bytes = 1;
    bench.restart();
    bench.evaluate(sums.sums);
    for (const NodeRef& block : sums.blocks) CHECK(is_there(bench, block));
  }
  SECTION("in a store that another coordinator works on") {
    const Dropper other(bench.store->folder());
    set_quota(bench, 1);
    bench.evaluate(sums.sums);
    for (const NodeRef& block : sums.blocks) CHECK(is_there(bench, block));
  }
}

TEST_CASE("A value that comes out other than it was when it was dropped is an error, never a substitute",
          "[dropping]") {
  Bench bench;
  set_quota(bench, 1);
  const NodeRef moody = bench.node("moody", Json::object());
  const NodeRef sum = bench.node("total", {{"trail", "-"}}, {moody});
  // A block of 8 KiB is too small to be dropped: what a kill in the middle of dropping leaves is made by hand.
  bench.evaluate({sum});
  for (const fs::path& file : blob_files(bench)) fs::remove(file);
  bench.restart();
  bench.evaluate({sum});
  CHECK(bench.evaluator->state(sum) == NodeState::found);
  const NodeRef late = bench.node("total", {{"trail", bench.trail()}}, {moody});
  bench.evaluate({late});
  CHECK(bench.evaluator->state(late) == NodeState::failed);
  CHECK_THAT(bench.failure(late),
             Contains("op probe/moody") && Contains("came out different") && Contains("recorded bytes are gone"));
  REQUIRE(bench.recorder.nondeterminism.size() == 1);
  CHECK(bench.recorder.nondeterminism[0].fields == std::vector<std::string>{"value"});
}
