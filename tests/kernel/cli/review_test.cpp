#include <catch2/catch.hpp>

#include <fstream>

#include "colonnade/json.h"
#include "kernel/store/store.h"
#include "kernel/study/run_folder.h"
#include "tests/kernel/cli/executable.h"
#include "tests/kernel/study/support.h"

// What somebody does with a run who has not made it, and with a project that is not theirs.

using namespace colonnade;
using namespace colonnade::host;
using Catch::Contains;

namespace {

namespace fs = std::filesystem;

const fs::path fixture = fs::path(COLONNADE_TEST_FIXTURE_DIR) / "good.plugin.so";

// A project with the trivial study, run, and a plugin of its own.
class FinishedRun : public TestFolder {
 public:
  FinishedRun() {
    fs::copy(fs::path(COLONNADE_TEST_SOURCE_DIR) / "tests/kernel/cli/studies", path() / "studies",
             fs::copy_options::recursive);
    fs::create_directories(path() / ".colonnade");
    fs::copy_file(fixture, plugin());
    const CommandResult result = run({"run", "studies/trivial", "--plugin", plugin().string(), "--json"});
    INFO(result.err);
    REQUIRE(result.exit_code == 0);
    name_ = Json::parse(result.out).at("run");
  }
  CommandResult run(const std::vector<std::string>& arguments) const { return run_executable(arguments, path()); }
  fs::path plugin() const { return path() / "good.plugin.so"; }
  fs::path folder() const { return path() / "runs" / name_; }
  const std::string& name() const { return name_; }

 private:
  std::string name_;
};

void append(const fs::path& file, const std::string& text) {
  std::ofstream(file, std::ios::app | std::ios::binary) << text;
}

fs::path copied(const FinishedRun& run, const TestFolder& to, const std::string& name) {
  fs::copy(run.folder(), to.path() / name, fs::copy_options::recursive);
  return to.path() / name;
}

}  // namespace

TEST_CASE("replay names the first line of a report's file that its values do not give") {
  const FinishedRun run;
  const CommandResult whole = run.run({"replay", "last"});
  INFO(whole.out << whole.err);
  CHECK(whole.exit_code == 0);
  CHECK_THAT(whole.out, !Contains("report:"));
  for (const std::string file : {"RESEARCH_REPORT.md", "results.csv", "comprehensive_results.json"}) {
    const std::string text = read_file_if_there(run.folder() / file).value();
    std::string edited = text;
    const auto second = text.find('\n') + 1;
    edited.replace(second, 1, text[second] == '9' ? "8" : "9");
    write_file_atomically(run.folder() / file, edited);
    const CommandResult result = run.run({"replay", "last"});
    CHECK(result.exit_code == 1);
    CHECK_THAT(result.out, Contains("report: " + file + ":2 is not what the values give"));
    const Json json = Json::parse(run.run({"replay", "last", "--json"}).out);
    CHECK(json.at("agrees") == false);
    CHECK(json.at("report").at("differences").at(0).at("file") == file);
    CHECK(json.at("report").at("differences").at(0).at("line") == 2);
    write_file_atomically(run.folder() / file, text);
  }
  fs::remove(run.folder() / "results.csv");
  CHECK_THAT(run.run({"replay", "last"}).out, Contains("report: results.csv is not there"));
}

TEST_CASE("a run's folder alone is enough to replay and to show it, also under another name") {
  const FinishedRun run;
  const TestFolder elsewhere;
  const fs::path copy = copied(run, elsewhere, run.name());
  const CommandResult whole = run_executable({"replay", copy.string()}, elsewhere.path());
  INFO(whole.out << whole.err);
  CHECK(whole.exit_code == 0);
  CHECK_THAT(whole.out, Contains("5 identical") && !Contains("not compared"));
  CHECK_FALSE(fs::exists(elsewhere.path() / ".colonnade"));
  append(copy / "results.csv", "more\n");
  CHECK(run_executable({"replay", run.name()}, elsewhere.path()).exit_code == 1);

  const fs::path renamed = copied(run, elsewhere, "for-review");
  const std::string note = "was renamed to 'for-review'; its name was '" + run.name() + "'";
  const CommandResult result = run_executable({"replay", renamed.string()}, elsewhere.path());
  CHECK(result.exit_code == 0);
  CHECK_THAT(result.out, Contains(note));
  CHECK_THAT(run_executable({"show", renamed.string()}, elsewhere.path()).out, Contains(note));
  std::string lock = read_file_if_there(renamed / "lock.json").value();
  lock.replace(lock.find("arms = {"), 4, "army");
  write_file_atomically(renamed / "lock.json", lock);
  CHECK_THAT(run_executable({"show", renamed.string()}, elsewhere.path()).err, Contains("lock.json: damaged"));
  CHECK_THAT(run_executable({"replay", "nothing"}, elsewhere.path()).err, Contains("no project here or above"));
}

TEST_CASE("without the store's traces the lock says which code differs or is gone") {
  const FinishedRun run;
  const TestFolder elsewhere;
  const std::string copy = copied(run, elsewhere, run.name()).string();
  append(run.plugin(), std::string(1, '\0'));
  const CommandResult other = run_executable({"replay", copy}, elsewhere.path());
  CHECK_THAT(other.out, Contains("changed: the code of 'good' differs: "));
  fs::remove(run.plugin());
  const CommandResult gone = run_executable({"replay", copy}, elsewhere.path());
  CHECK(gone.exit_code == 1);
  CHECK_THAT(gone.out, Contains("changed: plugin 'good', whose code was ") &&
                           Contains("the run's --plugin " + run.plugin().string() + " is gone") &&
                           Contains("give its file with --plugin"));
  const auto row = gone.out.find("not evaluated");
  CHECK(gone.out.substr(row, gone.out.find('\n', row) - row).find("number ") == std::string::npos);
  const CommandResult given = run_executable({"replay", copy, "--plugin", fixture.string()}, elsewhere.path());
  CHECK(given.exit_code == 0);
}

TEST_CASE("a plugin that was asked for and cannot be used says why") {
  const TestFolder folder;
  fs::create_directories(folder.path() / "empty");
  const std::string path = folder.write("stampless.plugin.so", "no shared object").string();
  const CommandResult none = run_executable({"plugin", "list", "--plugin", "empty"}, folder.path());
  CHECK(none.exit_code == 2);
  CHECK_THAT(none.err, Contains("plugin empty: no plugin file in this folder"));
  const CommandResult op = run_executable({"op", "--plugin", path}, folder.path());
  CHECK_THAT(op.err, Contains("colonnade: plugin stampless (" + path + ") is disabled: "));
  const CommandResult info = run_executable({"plugin", "info", "stampless", "--plugin", path}, folder.path());
  CHECK_THAT(info.out, Contains("stamp     none that can be read") && !Contains("0000"));
  const std::string reason = info.out.substr(info.out.find("disabled  ") + 10);
  CHECK_THAT(run_executable({"plugin", "list", "--plugin", path}, folder.path()).out,
             Contains("disabled: " + reason.substr(0, reason.find('\n')) + "\n"));
}

TEST_CASE("a project's folder that does not exist is not made") {
  const TestFolder folder;
  for (const std::string command : {"ls", "op"}) {
    const CommandResult result = run_executable({command, "--project", "mnie"}, folder.path());
    CHECK(result.exit_code == 2);
    CHECK(result.err == "colonnade: --project mnie: there is no such folder; 'mkdir -p mnie' makes it\n");
  }
  CHECK_FALSE(fs::exists(folder.path() / "mnie"));
}

TEST_CASE("a pin is taken away by the name that it was given") {
  const FinishedRun run;
  write_file_atomically(run.path() / "labels.lua", R"(
local col = require "colonnade"
return col.study { name = "labels", arms = { one = col.number { value = 3, label = "base" } } }
)");
  CHECK(run.run({"run", "labels.lua", "--plugin", fixture.string()}).exit_code == 0);
  CHECK_THAT(run.run({"gc", "--pin", "last:base"}).out, Catch::EndsWith(":base: 1 value\n"));
  const CommandResult unpinned = run.run({"gc", "--unpin", "last:base"});
  CHECK(unpinned.exit_code == 0);
  CHECK_THAT(unpinned.out, Catch::StartsWith("unpinned labels-") && Catch::EndsWith(":base: 1 value\n"));
  CHECK(run.run({"gc", "--pins"}).out == "no pins\n");
}

TEST_CASE("checkpoints go when no run is left that could go on from them") {
  const FinishedRun run;
  const auto checkpoints = [&] {
    return Json::parse(run.run({"gc", "--grace", "0", "--dry-run", "--json"}).out).at("checkpoints").get<int>();
  };
  Value state;
  state.fields.emplace("state", record_field({{"step", 7}}));
  Store::open(run.path() / ".colonnade/store", Store::Role::worker)->save_checkpoint(hash_bytes("cut short"), state);
  CHECK(checkpoints() == 1);
  const fs::path journal = run.folder() / "journal.jsonl";
  const std::string events = read_file_if_there(journal).value();
  write_file_atomically(journal, events.substr(0, events.rfind("{\"crc\"")));
  CHECK(checkpoints() == 0);  // an interrupted run may want it
  fs::remove_all(run.folder());
  CHECK(checkpoints() == 1);
}

TEST_CASE("an option that stands for a setting is named in messages") {
  const FinishedRun run;
  const auto complaint = [&](const std::vector<std::string>& options) {
    std::vector<std::string> arguments = {"run", "studies/trivial", "--plugin", fixture.string()};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return run.run(arguments).err;
  };
  CHECK_THAT(complaint({"--threads", "two"}), Catch::StartsWith("colonnade: --threads: threads = \"two\"; allowed: "));
  CHECK_THAT(complaint({"--epochs", "2"}), Catch::StartsWith("colonnade: --epochs: unknown setting 'epochs'"));
  write_file_atomically(run.path() / "studies/trivial/study.toml", "first = 2.0\nthraeds = 1\n");
  CHECK_THAT(complaint({}),
             Catch::StartsWith("colonnade: studies/trivial/study.toml:2: nothing reads 'thraeds'; did you "
                               "mean 'threads'?"));
}

TEST_CASE("a failure at run time names the study's line") {
  const FinishedRun run;
  write_file_atomically(run.path() / "fails.lua", R"(
local col = require "colonnade"
return col.study { name = "fails", arms = { one = col.op "good/fail" {} } }
)");
  const CommandResult result = run.run({"run", "fails.lua", "--plugin", fixture.string()});
  CHECK(result.exit_code == 1);
  CHECK_THAT(result.err, Contains(" (fails.lua:3) failed: op good/fail: "));
}
