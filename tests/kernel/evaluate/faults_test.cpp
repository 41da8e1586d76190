#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <chrono>
#include <csignal>
#include <thread>

#include "colonnade/error.h"
#include "kernel/evaluate/system.h"
#include "tests/kernel/evaluate/support.h"

using namespace colonnade;
using namespace colonnade::host;
using namespace colonnade::host::testing;
using Catch::Contains;

using Names = std::vector<std::string>;

namespace {

constexpr double kMebibyte = 1 << 20;

void pause_ms(int ms) {
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

// Waits up to `seconds` for `condition`.
template <typename Condition>
bool comes_true(double seconds, Condition condition) {
  for (const double end = monotonic_seconds() + seconds; monotonic_seconds() < end; pause_ms(10)) {
    if (condition()) return true;
  }
  return condition();
}

}  // namespace

TEST_CASE("A crash is named with its signal and the log's last lines, and the rest goes on", "[faults]") {
  Bench bench;
  const NodeRef die = bench.node("die"), good = bench.node("step", {{"value", 4}});
  bench.evaluate({die, good});
  CHECK(bench.failure(die) ==
        "op probe/die of plugin probe died with SIGSEGV; the last lines of its log:\n  the last words");
  CHECK(bench.recorder.messages == Names{"op probe/die of plugin probe died with SIGSEGV; trying again (1 of 1)"});
  CHECK(bench.value(good) == 4);
}

TEST_CASE("A worker that was killed is replaced and its node evaluated again", "[faults]") {
  Bench bench;
  const NodeRef node = bench.node("die_once", {{"marker", (bench.folder() / "marker").string()}});
  bench.evaluate({node});
  CHECK(bench.value(node) == 1);
  CHECK(bench.recorder.messages ==
        Names{"op probe/die_once of plugin probe died with SIGKILL (somebody ended it, or the system did for "
              "want of memory); trying again (1 of 1)"});
  CHECK(bench.evaluator->workers_started() == 2);
}

TEST_CASE("Without retries a death is final", "[faults]") {
  Bench bench;
  bench.options.retries = 0;
  bench.restart();
  const NodeRef node = bench.node("quit");
  bench.evaluate({node});
  CHECK(bench.failure(node) == "op probe/quit of plugin probe ended its worker with exit code 7");
  CHECK(bench.evaluator->workers_started() == 1);
}

TEST_CASE("An op that writes to its input is named, and not tried again", "[faults]") {
  Bench bench;
  for (const std::int64_t bytes : {100, 100000}) {  // inline in its trace, and a file of its own
    const NodeRef block = bench.node("block", {{"bytes", bytes}});
    const NodeRef node = bench.node("scribble", Json::object(), {block});
    bench.evaluate({node});
    CHECK_THAT(bench.failure(node), Catch::StartsWith("op probe/scribble of plugin probe wrote to its input"));
    const NodeRef total = bench.node("total", Json::object(), {block});
    bench.evaluate({total});
    CHECK(bench.value(total) == static_cast<double>(bytes));
  }
  CHECK(bench.recorder.messages.empty());
}

TEST_CASE("An op that draws from a global generator is named", "[faults]") {
  Bench bench;
  const NodeRef node = bench.node("gamble");
  bench.evaluate({node});
  CHECK_THAT(bench.failure(node), Catch::StartsWith("op probe/gamble drew from the global generator 'probe'"));
}

TEST_CASE("An op is ended at its time limit", "[faults]") {
  Bench bench;
  const NodeRef node = bench.node("deaf");
  bench.evaluate({node});
  CHECK(bench.failure(node) == "op probe/deaf of plugin probe ran longer than its time limit of 400 ms and was ended");
  CHECK(bench.evaluator->workers_started() == 1);
}

TEST_CASE("An op is ended when it uses more memory than it declares", "[faults]") {
  Bench bench;
  const auto hoard = [&](double bytes, double limit) {
    return bench.node("hoard",
                      {{"bytes", static_cast<std::int64_t>(bytes)}, {"limit", static_cast<std::int64_t>(limit)}});
  };
  const NodeRef modest = hoard(8 * kMebibyte, 200 * kMebibyte), greedy = hoard(400 * kMebibyte, 32 * kMebibyte);
  bench.evaluate({modest, greedy});
  CHECK(bench.value(modest) == 2);
  CHECK_THAT(bench.failure(greedy), Catch::StartsWith("op probe/hoard of plugin probe used ") &&
                                        Contains("of memory, more than the 32 MiB that it declares, and was ended"));
  CHECK(bench.recorder.messages.empty());
}

TEST_CASE("An op that declares more memory than the machine admits is refused", "[faults]") {
  Bench bench;
  const NodeRef node = bench.node("hoard", {{"bytes", 1}, {"limit", std::int64_t{1} << 60}});
  bench.evaluate({node});
  CHECK_THAT(bench.failure(node), Contains("declares that it needs 1.05e+06 TiB of memory; this machine has"));
  CHECK(bench.evaluator->workers_started() == 0);
}

TEST_CASE("A worker that gives no sign of life is ended", "[faults]") {
  Bench bench;
  bench.options.heartbeat_timeout = 0.6;
  bench.options.heartbeat_seconds = 30;
  bench.options.retries = 0;
  bench.restart();
  const NodeRef node = bench.node("sleepy");
  bench.evaluate({node});
  CHECK(bench.failure(node) ==
        "worker 1 gave no sign of life for 600 ms while op probe/sleepy of plugin probe ran, and was ended");
}

TEST_CASE("Heartbeats keep a worker that only computes", "[faults]") {
  Bench bench;
  bench.options.heartbeat_timeout = 1;
  bench.options.heartbeat_seconds = 0.1;
  bench.restart();
  const NodeRef node = bench.node("step", {{"ms", 2200}});
  bench.evaluate({node});
  CHECK(bench.value(node) == 0);
}

TEST_CASE("An interrupt ends what listens, kills what does not, and keeps what is done", "[faults]") {
  for (const char* op : {"wait_for_cancel", "sleepy"}) {
    Bench bench;
    bench.options.cancel_grace = 0.5;
    bench.restart();
    const NodeRef done = bench.node("step", {{"value", 1}}), endless = bench.node(op, Json::object());
    bench.evaluate({done});
    bench.evaluator->request(endless);
    bench.recorder.on_sign = [&] { bench.evaluator->interrupt(); };
    const double start = monotonic_seconds();
    CHECK_THROWS_AS(bench.evaluator->wait(), Cancelled);
    CHECK(monotonic_seconds() - start < 5);
    CHECK(bench.evaluator->state(endless) == NodeState::waiting);
    bench.restart();
    bench.evaluate({done});
    CHECK(bench.recorder.computed.empty());
    CHECK(children_of(::getpid()).empty());
  }
}

TEST_CASE("A second interrupt waits for nobody", "[faults]") {
  Bench bench;
  bench.options.cancel_grace = 60;
  bench.restart();
  bench.evaluator->request(bench.node("sleepy"));
  bench.recorder.on_sign = [&] { bench.evaluator->interrupt(); };
  const double start = monotonic_seconds();
  std::thread impatient([&] {
    pause_ms(500);
    bench.evaluator->interrupt();
  });
  CHECK_THROWS_AS(bench.evaluator->wait(), Cancelled);
  impatient.join();
  CHECK(monotonic_seconds() - start < 20);
}

TEST_CASE("A store that cannot be written ends the evaluation, and later it goes on", "[faults]") {
  Bench bench;
  const std::filesystem::path blobs = bench.folder() / "store" / "blobs";
  const auto damage = [&] {
    std::filesystem::remove_all(blobs);
    write_bytes(blobs, "a file where a folder belongs");
  };
  damage();
  bench.evaluator->request(bench.node("block"));
  CHECK_THROWS_WITH(bench.evaluator->wait(), Catch::StartsWith("cannot start a worker: it ended with exit code 3:\n") &&
                                                 Contains(blobs.string()));
  std::filesystem::remove(blobs);
  bench.restart();
  bench.evaluate({bench.node("step")});
  damage();  // now under the eyes of a worker that has opened it
  bench.evaluator->request(bench.node("block"));
  CHECK_THROWS_WITH(bench.evaluator->wait(), Contains(blobs.string()));
  std::filesystem::remove(blobs);
  bench.restart();
  const NodeRef total = bench.node("total", Json::object(), {bench.node("block")});
  bench.evaluate({total});
  CHECK(bench.value(total) == 8192);
}

TEST_CASE("An interrupted op saves its state and goes on from there", "[faults]") {
  Bench bench;
  const NodeRef count = bench.node("count", {{"steps", 60}, {"ms", 10}, {"trail", bench.trail()}});
  bench.evaluator->request(count);
  bool interrupted = false;  // once: a second interrupt is impatience, which gives the op no time to save
  bench.recorder.on_sign = [&] {
    if (interrupted || bench.trail_lines().size() <= 20) return;
    interrupted = true;
    bench.evaluator->interrupt();
  };
  CHECK_THROWS_AS(bench.evaluator->wait(), Cancelled);
  bench.restart();
  bench.evaluate({count});
  CHECK(bench.value(count) == 60);
  CHECK(bench.trail_lines().size() == 60);
  CHECK(files_below(bench.folder() / "store" / "checkpoints").empty());
}

TEST_CASE("A killed worker's op goes on from its last checkpoint", "[faults]") {
  Bench bench;
  bench.options.checkpoint_seconds = 0.05;
  bench.restart();
  const NodeRef count = bench.node("count", {{"steps", 60}, {"ms", 10}, {"trail", bench.trail()}});
  bool killed = false;
  bench.recorder.on_sign = [&] {
    if (killed || bench.trail_lines().size() < 30) return;
    killed = true;
    for (const pid_t worker : children_of(::getpid())) ::kill(worker, SIGKILL);
  };
  bench.evaluate({count});
  CHECK(bench.value(count) == 60);
  CHECK(killed);
  CHECK(bench.trail_lines().size() >= 60);
  CHECK(bench.trail_lines().size() < 85);
}

TEST_CASE("Workers killed at any moment change no result", "[faults]") {
  const auto contents = [](bool with_kills) {
    Bench bench;
    bench.options.workers = 2;
    bench.options.retries = 1000;
    bench.options.checkpoint_seconds = 0.02;
    bench.restart();
    std::vector<NodeRef> counts;
    for (int i = 0; i < 8; ++i) counts.push_back(bench.node("count", {{"steps", 20 + i}, {"ms", 2}}));
    const NodeRef sum = bench.node("join", Json::object(), counts);
    double next_kill = monotonic_seconds() + 0.02;
    unsigned kills = 0;
    bench.recorder.on_sign = [&] {
      if (!with_kills || kills == 20 || monotonic_seconds() < next_kill) return;
      const auto workers = children_of(::getpid());
      if (!workers.empty()) ::kill(workers[kills++ % workers.size()], SIGKILL);
      next_kill = monotonic_seconds() + 0.007 * (kills % 5 + 1);
    };
    bench.evaluate({sum});
    CHECK((kills > 0) == with_kills);  // how many fit in depends on the machine
    CHECK(bench.value(sum) == 8 * 20 + 28);
    return bench.evaluator->result(sum)->trace->manifest.fields.at("value").content;
  };
  CHECK(contents(false) == contents(true));
}

TEST_CASE("Workers are gone when their evaluator is", "[faults]") {
  Bench bench;
  bench.options.workers = 3;
  bench.restart();
  bench.evaluate({bench.node("step", {{"value", 1}, {"ms", 100}}), bench.node("step", {{"value", 2}, {"ms", 100}})});
  CHECK(children_of(::getpid()).size() == 2);
  bench.evaluator.reset();
  CHECK(children_of(::getpid()).empty());  // no zombies either
}

TEST_CASE("Workers die with a coordinator that is killed", "[faults]") {
  const ScratchFolder scratch;
  probe_catalogue();
  const pid_t coordinator = ::fork();
  if (coordinator == 0) {
    Bench bench(scratch.path());
    bench.evaluate({bench.node("sleepy")});
    ::_exit(0);
  }
  std::vector<pid_t> workers;
  REQUIRE(comes_true(20, [&] { return !(workers = children_of(coordinator)).empty(); }));
  pause_ms(200);
  ::kill(coordinator, SIGKILL);
  int status = 0;
  ::waitpid(coordinator, &status, 0);
  for (const pid_t worker : workers) {
    CHECK(comes_true(2, [&] {
      const std::string file = "/proc/" + std::to_string(worker) + "/stat";
      const std::string stat = std::filesystem::exists(file) ? read_bytes(file) : "";
      return stat.empty() || stat.find(") Z") != std::string::npos;  // whoever adopts it has still to wait for it
    }));
  }
}

TEST_CASE("A measured op runs alone, in a worker of its own", "[faults]") {
  Bench bench;
  bench.options.workers = 3;
  bench.restart();
  std::vector<NodeRef> nodes;
  for (int i = 0; i < 4; ++i) {
    nodes.push_back(bench.node("step", {{"value", i}, {"name", "plain"}, {"ms", 60}, {"trail", bench.trail()}}));
    nodes.push_back(bench.node("clocked", {{"value", i}, {"name", "measured"}, {"ms", 60}, {"trail", bench.trail()}}));
  }
  bench.evaluate(nodes);
  struct Line {
    std::string name, pid;
    double start = 0, end = 0;
  };
  std::vector<Line> lines;
  for (const std::string& text : bench.trail_lines()) {
    Line line;
    std::istringstream(text) >> line.name >> line.pid >> line.start >> line.end;
    lines.push_back(line);
  }
  REQUIRE(lines.size() == 8);
  for (const Line& measured : lines) {
    if (measured.name != "measured") continue;
    for (const Line& other : lines) {
      if (&other == &measured) continue;
      CHECK(other.pid != measured.pid);
      CHECK((other.end <= measured.start || other.start >= measured.end));
    }
  }
}

TEST_CASE("An executable that is not there is one clear error", "[faults]") {
  Bench bench;
  bench.evaluator.reset();
  bench.options.executable = "/nowhere/colonnade";
  bench.evaluator = Evaluator::create(bench.options, probe_catalogue(), *bench.store, bench.recorder);
  bench.evaluator->request(bench.node("step"));
  CHECK_THROWS_WITH(bench.evaluator->wait(), "cannot start a worker: /nowhere/colonnade cannot be executed");
}

TEST_CASE("Numeric variables of the coordinator's own environment do not reach workers", "[faults]") {
  ::setenv("OMP_NUM_THREADS", "7", 1);
  ::setenv("MKL_DEBUG_CPU_TYPE", "5", 1);
  Bench bench;
  bench.evaluate({bench.node("step")});
  const auto children = children_of(::getpid());
  REQUIRE(children.size() == 1);
  const std::string environment = read_bytes("/proc/" + std::to_string(children[0]) + "/environ");
  CHECK(environment.find("MKL_DEBUG_CPU_TYPE") == std::string::npos);
  CHECK(environment.find("OMP_NUM_THREADS=1") != std::string::npos);
  CHECK(environment.find("MKL_CBWR=AVX2") != std::string::npos);
  ::unsetenv("OMP_NUM_THREADS");
  ::unsetenv("MKL_DEBUG_CPU_TYPE");
}
