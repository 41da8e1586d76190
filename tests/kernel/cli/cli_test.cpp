#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdlib>
#include <regex>

#include "colonnade/json.h"
#include "kernel/store/store.h"
#include "kernel/study/journal.h"
#include "kernel/study/run_folder.h"
#include "tests/kernel/cli/executable.h"
#include "tests/kernel/study/support.h"

using namespace colonnade;
using namespace colonnade::host;
using Catch::Contains;

namespace {

namespace fs = std::filesystem;

const fs::path here = fs::path(COLONNADE_TEST_SOURCE_DIR) / "tests/kernel/cli";
const fs::path fixtures = COLONNADE_TEST_FIXTURE_DIR;
const std::string good = (fixtures / "good.plugin.so").string();

// A project with the trivial study in it.
class CliProject : public TestFolder {
 public:
  CliProject() {
    fs::copy(here / "studies", path() / "studies", fs::copy_options::recursive);
    fs::create_directories(path() / ".colonnade");
  }
  CommandResult run(std::vector<std::string> arguments) const { return run_executable(arguments, path()); }
  CommandResult study(const std::string& command, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {command, "studies/trivial", "--plugin", good};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
};

// Differences between machines and days have no place in approved text.
std::string settled(std::string text, const fs::path& project) {
  for (auto at = text.find(project.string()); at != std::string::npos; at = text.find(project.string())) {
    text.replace(at, project.string().size(), "PROJECT");
  }
  for (auto at = text.find(fixtures.string()); at != std::string::npos; at = text.find(fixtures.string())) {
    text.replace(at, fixtures.string().size(), "PLUGINS");
  }
  return std::regex_replace(text, std::regex("[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9a-f]{8}"), "DATE-ID");
}

// COLONNADE_APPROVE=1 writes what came out; the difference is then reviewed like any other.
void check_approved(const std::string& name, const CommandResult& result, const fs::path& project) {
  const std::string text =
      settled(result.out + result.err, project) + "exit code " + std::to_string(result.exit_code) + "\n";
  const fs::path file = here / "approved" / (name + ".txt");
  if (std::getenv("COLONNADE_APPROVE")) write_file_atomically(file, text);
  INFO(file);
  CHECK(text == read_file_if_there(file).value_or("(no approved text)"));
}

}  // namespace

TEST_CASE("every command explains itself, with an example") {
  const TestFolder folder;
  check_approved("help", run_executable({"--help"}, folder.path()), folder.path());
  for (const std::string command :
       {"run", "plan", "replay", "diff", "why", "show", "report", "export", "ls", "gc", "op", "plugin"}) {
    const CommandResult result = run_executable({command, "--help"}, folder.path());
    CHECK_THAT(result.out, Contains("Example:\n  colonnade " + command));
    check_approved("help_" + command, result, folder.path());
  }
}

TEST_CASE("the version is the SDK's") {
  const TestFolder folder;
  const CommandResult result = run_executable({"--version"}, folder.path());
  CHECK(result.exit_code == 0);
  CHECK_THAT(result.out, Catch::Matches("colonnade [0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST_CASE("mistakes on the command line are one clear line and exit code 2") {
  const CliProject project;
  const std::vector<std::pair<std::string, std::vector<std::string>>> mistakes = {
      {"unknown_command", {"rnu", "studies/trivial"}},
      {"no_study", {"run"}},
      {"absent_study", {"run", "studies/trivail"}},
      {"unknown_option", {"ls", "--jsn"}},
      {"unknown_setting", {"run", "studies/trivial", "--plugin", good, "--frist", "3"}},
      {"setting_type", {"run", "studies/trivial", "--plugin", good, "--set", "first=much"}},
      {"setting_without_value", {"run", "studies/trivial", "--worker"}},
      {"unknown_profile", {"plan", "studies/trivial", "--plugin", good, "--profile", "lrage"}},
      {"too_many_arguments", {"ls", "here"}},
      {"bad_number", {"run", "studies/trivial", "--workers", "no"}},
      {"no_runs", {"show", "last"}},
      {"unknown_op", {"op", "nmuber", "--plugin", good}},
      {"unknown_plugin", {"plugin", "info", "godo", "--plugin", good}},
      {"unknown_plugin_command", {"plugin", "lst"}},
      {"no_plugin_command", {"plugin"}},
      {"folder_of_studies", {"run", "studies"}},
      {"pin_and_unpin", {"gc", "--pin", "last", "--unpin", "last"}},
  };
  for (const auto& [name, arguments] : mistakes) {
    const CommandResult result = project.run(arguments);
    INFO(name);
    CHECK(result.exit_code == 2);
    CHECK(result.out.empty());
    CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
    CHECK_THAT(result.err, Catch::StartsWith("colonnade: "));
    check_approved(name, result, project.path());
  }
}

TEST_CASE("outside a project commands say so") {
  const TestFolder folder;
  const CommandResult result = run_executable({"ls"}, folder.path());
  CHECK(result.exit_code == 2);
  check_approved("no_project", result, folder.path());
}

TEST_CASE("an op is explained from its schema") {
  const CliProject project;
  check_approved("op_draw", project.run({"op", "draw", "--plugin", good}), project.path());
  check_approved("op_bytes", project.run({"op", "good/bytes", "--plugin", good}), project.path());
  CHECK(project.run({"op", "draw", "--help", "--plugin", good}).out ==
        project.run({"op", "draw", "--plugin", good}).out);
  const CommandResult json = project.run({"op", "bytes", "--json", "--plugin", good});
  CHECK(Json::parse(json.out).at("name") == "bytes");
  CHECK_THAT(project.run({"op", "--plugin", good}).out, Contains("good/sum_bytes"));
}

TEST_CASE("a study is planned, run, found finished, shown, compared and replayed") {
  const CliProject project;
  const Json plan = Json::parse(project.study("plan", {"--json"}).out);
  CHECK(plan.at("nodes").size() == 5);
  CHECK(plan.at("found") == 0);
  CHECK(plan.at("arms").at(0).at("adds") == 1);

  const Json first = Json::parse(project.study("run", {"--json"}).out);
  CHECK(first.at("nodes_computed") == 5);
  CHECK(first.at("failed_trials") == 0);
  const Json second = Json::parse(project.study("run", {"--json"}).out);
  CHECK(second.at("was_finished") == true);
  CHECK(second.at("workers_started") == 0);
  CHECK(second.at("table") == first.at("table"));
  CHECK(Json::parse(project.study("plan", {"--json"}).out).at("found") == 5);

  const Json large = Json::parse(project.study("run", {"--json", "--profile", "large"}).out);
  CHECK(large.at("run") != first.at("run"));
  CHECK(large.at("nodes_found") == 2);  // the draws do not depend on the setting

  const Json runs = Json::parse(project.run({"ls", "--json"}).out).at("runs");
  REQUIRE(runs.size() == 2);
  CHECK(runs.at(0).at("state") == "finished");
  const std::string run = first.at("run"), other = large.at("run");
  CHECK(Json::parse(project.run({"show", run, "--json"}).out).at("trials").size() == 4);
  CHECK_THAT(project.run({"show", run, "number"}).out, Contains("good/number") && Contains("value"));
  const Json difference = Json::parse(project.run({"diff", run, other, "--json"}).out);
  CHECK(difference.at("settings").at(0).at("part") == "first");
  CHECK(difference.at("same_nodes") == 2);
  CHECK_THAT(project.run({"why", other, "number"}).out, Contains("params.value"));
  const CommandResult replay = project.run({"replay", run, "--json"});
  CHECK(replay.exit_code == 0);
  CHECK(Json::parse(replay.out).at("agrees") == true);
  CHECK(project.run({"report", run}).exit_code == 0);
  CHECK(Json::parse(project.run({"gc", "--dry-run", "--grace", "0", "--json"}).out).at("blobs") == 0);
}

TEST_CASE("every command speaks JSON") {
  const CliProject project;
  const std::string run = Json::parse(project.study("run", {"--json"}).out).at("run");
  const std::vector<std::vector<std::string>> commands = {
      {"run", "studies/trivial", "--plugin", good},
      {"plan", "studies/trivial", "--plugin", good},
      {"replay", run},
      {"diff", run, "last"},
      {"why", run, "number"},
      {"show", run},
      {"show", run, "number"},
      {"report", run},
      {"ls"},
      {"gc", "--dry-run"},
      {"gc", "--verify"},
      {"gc", "--pin", "last"},
      {"gc", "--pins"},
      {"gc", "--unpin", run},
      {"op", "--plugin", good},
      {"op", "draw", "--plugin", good},
      {"plugin", "list", "--plugin", good},
      {"plugin", "info", "good", "--plugin", good},
  };
  for (std::vector<std::string> arguments : commands) {
    arguments.push_back("--json");
    const CommandResult result = project.run(arguments);
    INFO(arguments.front() << ": " << result.out << result.err);
    CHECK(result.exit_code == 0);
    CHECK(Json::accept(result.out));
  }
}

TEST_CASE("a run that is not there is answered with the nearest one's name") {
  const CliProject project;
  project.study("run");
  CHECK_THAT(project.run({"show", "lst"}).err, Contains("no such run; did you mean 'last'?"));
  CHECK_THAT(project.run({"diff", "last", "trivail"}).err, Contains("did you mean 'trivial'?"));
}

TEST_CASE("a run compared with itself is the same, also where two of its nodes have one key") {
  const CliProject project;
  write_file_atomically(project.path() / "twice.lua", R"(
local col = require "colonnade"
local zero = col.number { value = 0 }
local three = col.number { value = 3 }
local sum = col.add { a = three, b = zero }
return col.study { name = "twice", arms = { once = sum, twice = col.add { a = sum, b = zero } } }
)");
  CHECK(project.run({"run", "twice.lua", "--plugin", good}).exit_code == 0);
  const Json difference = Json::parse(project.run({"diff", "last", "last", "--json"}).out);
  CHECK(difference.at("same_nodes") == 4);
  CHECK(difference.at("nodes").empty());
}

TEST_CASE("CUDA that cannot be had is the machine's fault, not the study's") {
  const CliProject project;
  const CommandResult result = project.study("run", {"--device", "cuda"});
  CHECK(result.exit_code == 3);
  // Not one op of the fixture computes on CUDA, whatever the machine has.
  CHECK_THAT(result.err, Catch::StartsWith("colonnade: --device: device = \"cuda\", but ") &&
                             Catch::EndsWith("; allowed here: cpu, auto\n"));
  CHECK_FALSE(fs::exists(project.path() / "runs"));
  CHECK(project.study("run", {"--device", "auto"}).exit_code == 0);
}

TEST_CASE("any setting can be written as an option") {
  const CliProject project;
  const Json set = Json::parse(project.study("run", {"--json", "--set", "first=7"}).out);
  CHECK(Json::parse(project.study("run", {"--json", "--first", "7", "--disable-visualization"}).out).at("run") ==
        set.at("run"));
  CHECK(Json::parse(project.study("run", {"--json", "--first=7"}).out).at("was_finished") == true);
}

TEST_CASE("bytes that are no UTF-8 are a mistake like any other") {
  const CliProject project;
  const CommandResult device = project.study("run", {"--set", "device=\xff"});
  CHECK(device.exit_code == 2);
  CHECK(device.err == "colonnade: --set: device = \"\uFFFD\"; allowed: cpu, auto, cuda\n");
  const CommandResult first = project.study("run", {"--set", "first=\xff"});
  CHECK(first.exit_code == 2);
  CHECK_THAT(first.err, Contains("first = \"\uFFFD\" is a string, but studies/trivial/study.toml:1 has a real number"));
}

TEST_CASE("shared metrics of two runs are compared, under no arm") {
  const CliProject project;
  write_file_atomically(project.path() / "bound.lua", R"(
local col = require "colonnade"
return col.study { name = "bound", arms = { one = col.number {} },
                   shared = { bound = col.number { value = col.setting("bound", 1.0) } } }
)");
  const auto run = [&](const std::string& bound) {
    return Json::parse(project.run({"run", "bound.lua", "--plugin", good, "--json", "--set", "bound=" + bound}).out)
        .at("run")
        .get<std::string>();
  };
  const std::string first = run("2.0"), second = run("3.0");
  CHECK_THAT(project.run({"diff", first, second}).out, Contains("(shared)") && Contains("+1\n"));
  const Json metrics = Json::parse(project.run({"diff", first, second, "--json"}).out).at("metrics");
  const auto is_shared = [](const Json& metric) { return metric.at("arm").is_null(); };
  const auto shared = std::find_if(metrics.begin(), metrics.end(), is_shared);
  REQUIRE(shared != metrics.end());
  CHECK(shared->at("metric") == "bound");
  CHECK(shared->at("first") == 2.0);
  CHECK(shared->at("second") == 3.0);
}

TEST_CASE("what changed is told of several inputs of one role, and without the store") {
  const CliProject project;
  write_file_atomically(project.path() / "sums.lua", R"(
local col = require "colonnade"
local numbers = { col.number { value = 1 }, col.number { value = col.setting("second", 2.0) } }
return col.study { name = "sums", arms = { all = col.sum { numbers = numbers } } }
)");
  const auto run = [&](const std::string& second) {
    return Json::parse(project.run({"run", "sums.lua", "--plugin", good, "--json", "--set", "second=" + second}).out)
        .at("run")
        .get<std::string>();
  };
  const std::string first = run("2.0"), second = run("3.0");
  CHECK_THAT(project.run({"why", second, "sum"}).out,
             Contains("inputs.numbers#2") && Contains("field 'result' of number") && Contains("was computed too"));

  // With the traces gone, a journal still has each input's content.
  fs::remove_all(project.path() / ".colonnade/store/traces");
  const Json nodes = Json::parse(project.run({"diff", first, second, "--json"}).out).at("nodes");
  const auto is_sum = [](const Json& pair) { return pair.at("first").at("op") == "good/sum"; };
  const auto sum = std::find_if(nodes.begin(), nodes.end(), is_sum);
  REQUIRE(sum != nodes.end());
  REQUIRE(sum->at("differences").size() == 1);
  const Json& difference = sum->at("differences").front();
  CHECK(difference.at("part") == "inputs.numbers#2");
  std::vector<std::string> contents;
  for (const Json& event : read_journal(resolve_run(project.path() / "runs", first).journal()).events) {
    if (event.value("op", "") == "good/number") contents.push_back(event.at("contents").at("result"));
  }
  CHECK(std::count(contents.begin(), contents.end(), difference.at("first").get<std::string>()) == 1);
}

TEST_CASE("damaged values are found by reading them all") {
  const CliProject project;
  write_file_atomically(project.path() / "large.lua", R"(
local col = require "colonnade"
local bytes = col.bytes { count = 10000 }
return col.study { name = "large", arms = { all = bytes:sum_bytes {} } }
)");
  CHECK(project.run({"run", "large.lua", "--plugin", good}).exit_code == 0);
  CHECK(project.run({"gc", "--verify"}).out == "every blob is what its name says\n");
  for (const auto& entry : fs::recursive_directory_iterator(project.path() / ".colonnade/store/blobs")) {
    if (!entry.is_regular_file()) continue;
    std::string bytes = read_file_if_there(entry.path()).value();
    bytes.back() ^= 1;
    fs::permissions(entry.path(), fs::perms::owner_write, fs::perm_options::add);
    fs::remove(entry.path());
    write_file_atomically(entry.path(), bytes);
  }
  const CommandResult result = project.run({"gc", "--verify"});
  CHECK(result.exit_code == 1);
  CHECK_THAT(result.out, Contains(" is damaged, and now in quarantine\n1 damaged blob; what needs"));
}
