#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>

#include "colonnade/json.h"
#include "kernel/store/store.h"
#include "tests/kernel/cli/executable.h"
#include "tests/kernel/study/support.h"

using namespace colonnade;
using namespace colonnade::host;
using Catch::Contains;

namespace {

namespace fs = std::filesystem;

const fs::path fixture = fs::path(COLONNADE_TEST_FIXTURE_DIR) / "good.plugin.so";

constexpr const char* study = R"(
local col = require "colonnade"
local function half(first) return col.bytes { count = 10000, first = first } end
return col.study {
  name = "pieces", seeds = { 0 },
  arms = { { name = "low", model = half(0) }, { name = "high", model = half(7) } },
  metrics = function(model) return { sum = model:sum_bytes {} } end,
  files = function(model) return { cut = model:pieces { pieces = 3 } } end,
}
)";

// The bytes that the fixture counts up.
std::string counted(int first, int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i) bytes += static_cast<char>(first + i);
  return bytes;
}

// The run is made once, since describing all plugins takes its time, and copied for each test.
const fs::path& finished_project() {
  static const TestFolder project;
  static const bool made = [] {
    project.write("studies/pieces/study.lua", study);
    fs::create_directories(project.path() / ".colonnade");
    fs::create_directories(project.path() / "plugins");
    fs::copy_file(fixture, project.path() / "plugins/good.plugin.so");
    const CommandResult result = run_executable({"run", "studies/pieces"}, project.path());
    INFO(result.err);
    REQUIRE(result.exit_code == 0);
    return true;
  }();
  (void)made;
  return project.path();
}

class FinishedRun : public TestFolder {
 public:
  FinishedRun() {
    fs::copy(finished_project(), path(), fs::copy_options::recursive | fs::copy_options::overwrite_existing);
    folder_ = fs::directory_iterator(path() / "runs")->path();
  }
  CommandResult run(const std::vector<std::string>& arguments) const { return run_executable(arguments, path()); }
  CommandResult save(const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"export", "last"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
  fs::path plugin() const { return path() / "plugins/good.plugin.so"; }
  const fs::path& folder() const { return folder_; }
  std::string text(const std::string& file) const { return read_file_if_there(path() / file).value_or("(not there)"); }

 private:
  fs::path folder_;
};

void require_done(const CommandResult& result) {
  INFO(result.out << result.err);
  REQUIRE(result.exit_code == 0);
}

}  // namespace

TEST_CASE("an arm's model is exported through a format's op, whole or not at all") {
  const FinishedRun run;
  const CommandResult done = run.save({"high", "--format", "pieces", "--to", "out/there", "--param", "pieces=2"});
  require_done(done);
  CHECK_THAT(done.out, Contains("parts/1") && Contains("as pieces, 3 files, 9.77 KiB"));
  CHECK(run.text("out/there/index.txt") == "2\n");
  CHECK(run.text("out/there/parts/0") + run.text("out/there/parts/1") == counted(7, 10000));
  CHECK(std::distance(fs::directory_iterator(run.path() / "out"), {}) == 1);  // nothing temporary is left

  const CommandResult again = run.save({"low", "--format", "good/pieces", "--to", "out/there"});
  CHECK(again.exit_code == 2);
  CHECK_THAT(again.err, Contains("the folder out/there is not empty") && Contains("--force"));
  CHECK(run.text("out/there/parts/0") == counted(7, 5000));
  require_done(run.save({"low", "--format", "pieces", "--to", "out/there", "--force"}));
  CHECK(run.text("out/there/parts/0") == counted(0, 5000));
  CHECK(std::distance(fs::directory_iterator(run.path() / "out"), {}) == 1);
  fs::create_directories(run.path() / "empty");
  require_done(run.save({"low", "--format", "pieces", "--to", "empty/"}));
  CHECK(run.text("empty/index.txt") == "2\n");
}

TEST_CASE("a study's files may be folders, which export writes as they are and replay compares") {
  const FinishedRun run;
  const auto in_run = [&](const std::string& file) { return read_file_if_there(run.folder() / "files" / file); };
  CHECK(in_run("low/cut/index.txt") == "3\n");
  CHECK(in_run("high/cut/parts/0").value() + in_run("high/cut/parts/1").value() + in_run("high/cut/parts/2").value() ==
        counted(7, 10000));
  CHECK_THAT(read_file_if_there(run.folder() / "RESEARCH_REPORT.md").value(), Contains("pieces: 4 files, 10002 bytes"));

  const Json shown = Json::parse(run.run({"show", "last", "--json"}).out);
  const auto& nodes = shown.at("nodes");
  const auto node = std::find_if(nodes.begin(), nodes.end(), [](const Json& n) { return n.at("op") == "good/pieces"; });
  const std::string digits = node->at("node").get<std::string>().substr(0, 10);
  const CommandResult done = run.save({digits, "--to", "as-it-is", "--json"});
  require_done(done);
  const Json exported = Json::parse(done.out);
  CHECK(exported.at("format") == "pieces");
  CHECK(exported.at("files").size() == 4);
  CHECK(run.text("as-it-is/index.txt") == "3\n");

  require_done(run.run({"replay", "last"}));
  write_file_atomically(run.folder() / "files/low/cut/parts/1", "other");
  CHECK_THAT(run.run({"replay", "last"}).out, Contains("files/low/cut/parts/1:1 is not what the values give"));
}

TEST_CASE("export says what there is where something is asked for that is not") {
  const FinishedRun run;
  const auto refused = [&](const std::vector<std::string>& arguments, const std::string& message) {
    std::vector<std::string> all = arguments;
    all.insert(all.end(), {"--to", "nowhere"});
    const CommandResult result = run.save(all);
    INFO(result.err);
    CHECK(result.exit_code == 2);
    CHECK_THAT(result.err, Contains(message));
    CHECK_FALSE(fs::exists(run.path() / "nowhere"));
  };
  refused({"hihg", "--format", "pieces"}, "'hihg' is no arm of this run; did you mean 'high'?");
  refused({"zebra", "--format", "pieces"}, "arms: high, low");
  refused({"low", "--seed", "5", "--format", "pieces"}, "--seed 5: arm 'low' has no such seed; it has: 0");
  refused({"low", "--format", "peices"}, "did you mean 'pieces'?");
  refused({"low", "--format", "zip"}, "formats of a tensor: pieces");
  refused({"low"}, "a format is needed (--format)");
  refused({"low", "--field", "tensr", "--format", "pieces"}, "did you mean 'tensor'? Fields: tensor (tensor)");
  refused({"sum_bytes", "--format", "pieces"}, "several nodes match");
  refused({"low", "--format", "pieces", "--param", "pices=2"}, "did you mean 'pieces'?");
  refused({"low", "--format", "pieces", "--param", "pieces=0"}, "--param");
  refused({"low", "--format", "pieces", "--param", "pieces=x"}, "cannot be read");
  refused({"low", "--format", "pieces", "--param", "pieces"}, "expected NAME=VALUE");
  run.write("file", "here first");
  CHECK_THAT(run.save({"low", "--format", "pieces", "--to", "file", "--force"}).err, Contains("is no folder"));
  CHECK(run.text("file") == "here first");
  CHECK_THAT(run.save({"low", "--format", "pieces", "--to", ".", "--force"}).err,
             Contains("holds the one you work in"));
}

TEST_CASE("values whose bytes are not kept are still found, shown, replayed and exported") {
  const FinishedRun run;
  int dropped = 0;
  for (const auto& blob : fs::recursive_directory_iterator(run.path() / ".colonnade/store/blobs")) {
    if (blob.is_regular_file() && blob.file_size() >= 10000) dropped += fs::remove(blob.path());
  }
  CHECK(dropped == 2);  // the models; what is reported stays
  const Json plan = Json::parse(run.run({"plan", "studies/pieces", "--json"}).out);
  CHECK(plan.at("found") == 6);
  const CommandResult replayed = run.run({"replay", "last"});
  INFO(replayed.out);
  CHECK(replayed.exit_code == 0);
  CHECK_THAT(replayed.out, Contains("6 identical") && !Contains("damaged") && !Contains("not compared"));
  const Json shown = Json::parse(run.run({"show", "last", "--json"}).out);
  for (const Json& node : shown.at("nodes")) {
    if (node.at("op") != "good/bytes") continue;
    const CommandResult one = run.run({"show", "last", node.at("node").get<std::string>()});
    CHECK_THAT(one.out, Contains("its bytes are not kept"));
  }
  CHECK(run.run({"report", "last"}).exit_code == 0);
  CHECK(run.run({"gc", "--verify"}).exit_code == 0);
  require_done(run.run({"gc"}));
  require_done(run.save({"low", "--format", "pieces", "--to", "made-again"}));
  CHECK(run.text("made-again/parts/1") == counted(5000, 5000));
}

TEST_CASE("what is exported is the recorded value, also after its code has changed") {
  const FinishedRun run;
  std::ofstream(run.plugin(), std::ios::app | std::ios::binary) << '\0';
  require_done(run.save({"high", "--format", "pieces", "--to", "kept"}));
  CHECK(run.text("kept/parts/0") == counted(7, 5000));
  // Without its bytes only the same code may make it again.
  for (const auto& blob : fs::recursive_directory_iterator(run.path() / ".colonnade/store/blobs")) {
    if (blob.is_regular_file()) fs::remove(blob.path());
  }
  const CommandResult gone = run.save({"high", "--format", "pieces", "--to", "gone", "--param", "pieces=5"});
  CHECK(gone.exit_code == 1);
  CHECK_THAT(gone.err, Contains("has not kept the recorded value") && Contains("cannot be made again"));
  CHECK_FALSE(fs::exists(run.path() / "gone"));
  fs::copy_file(fixture, run.plugin(), fs::copy_options::overwrite_existing);
  require_done(run.save({"high", "--format", "pieces", "--to", "again"}));
  CHECK(run.text("again/parts/0") == counted(7, 5000));
}
