#include "kernel/plugin/catalogue.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>

#include "colonnade/error.h"
#include "colonnade/version.h"
#include "kernel/plugin/discovery.h"
#include "kernel/plugin/host_files.h"
#include "tests/kernel/store/support.h"

using namespace colonnade;
using namespace colonnade::host;
using namespace colonnade::host::testing;

namespace {

namespace fs = std::filesystem;

fs::path fixture_file(const std::string& name) {
  return fs::path(COLONNADE_TEST_FIXTURE_DIR) / (name + ".plugin.so");
}

// Nothing but what a test names.
PluginPaths bare_paths() {
  PluginPaths paths;
  paths.installed = false;
  return paths;
}

fs::path copy_fixture(const std::string& name, const fs::path& folder) {
  fs::create_directories(folder);
  const fs::path file = folder / (name + ".plugin.so");
  fs::copy_file(fixture_file(name), file);
  return file;
}

std::unique_ptr<Catalogue> load_fixtures(const std::vector<std::string>& names, const fs::path& cache = {},
                                         bool trust_versions = false) {
  PluginPaths paths = bare_paths();
  for (const std::string& name : names) paths.explicit_files_or_folders.push_back(fixture_file(name));
  return Catalogue::load(paths, cache, trust_versions);
}

std::string reason_for(const std::string& name) {
  const std::unique_ptr<Catalogue> catalogue = load_fixtures({name, "good"});
  REQUIRE(catalogue->find_op("good/add") != nullptr);  // whatever the other one does
  const PluginInfo* plugin = catalogue->find_plugin(name);
  REQUIRE(plugin != nullptr);
  CHECK(plugin->ops.empty());
  return plugin->disabled;
}

std::string message_of(const std::function<void()>& action, ErrorKind kind) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.kind() == kind);
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("Every broken plugin is disabled with its own reason, and the host lives") {
  CHECK(reason_for("wrong_abi") == "it was built for SDK ABI 999, this host has SDK ABI " +
                                       std::to_string(COLONNADE_SDK_ABI) +
                                       "; build it again with this Colonnade's SDK");
  CHECK(reason_for("missing_entry") ==
        "it has no symbol 'colonnade_plugin'; end one of its source files with COLONNADE_PLUGIN(register_function)");
  CHECK(reason_for("throwing_registration") == "its registration failed: the table of kernels is empty");
  CHECK(reason_for("duplicate_op") ==
        "its registration was refused: plugin 'duplicate_op' registers the op 'duplicate_op/one' twice");
  CHECK(reason_for("unresolved_symbol") == "it cannot be loaded: " + fixture_file("unresolved_symbol").string() +
                                               ": undefined symbol: colonnade_fixture_function_that_nobody_defines");
  // The compiler takes dlopen for a function that never throws: whether the exception gets past it or ends the process
  // depends on what was inlined around the call.
  const std::string thrown = reason_for("throwing_static");
  CHECK((thrown == "it threw while it was loaded: no table in this build" ||
         thrown == "the process that loaded it died with SIGABRT; its last lines: terminate called after throwing an "
                   "instance of 'std::runtime_error';   what():  no table in this build"));
  CHECK_THAT(reason_for("wrong_torch"),
             Catch::StartsWith(host_torch_version() ? "it was built with LibTorch 0.0.1+none, this "
                                                      "host with LibTorch "
                                                    : "it needs LibTorch 0.0.1+none, "));
}

TEST_CASE("Plugins that only misbehave later are usable as far as the catalogue can see") {
  const std::unique_ptr<Catalogue> catalogue = load_fixtures({"good", "crash_in_op", "endless_op"});
  for (const char* name : {"good", "crash_in_op", "endless_op"}) CHECK(catalogue->find_plugin(name)->disabled == "");
  const OpSchema* op = catalogue->find_op("endless_op/limited");
  REQUIRE(op != nullptr);
  CHECK(op->time_limit == 0.5);
  CHECK(catalogue->find_plugin("good")->stamp.version == "1.0.0");
  CHECK(catalogue->find_plugin("good")->binary == hash_file(fixture_file("good")));
  CHECK(catalogue->find_plugin("good")->origin == "explicit");
  const std::vector<const OpSchema*> ops = catalogue->ops();
  CHECK(std::is_sorted(ops.begin(), ops.end(), [](const OpSchema* a, const OpSchema* b) { return a->id() < b->id(); }));
}

TEST_CASE("An op is found by its full id or its short name, and misses say what is near") {
  const ScratchFolder folder;
  const std::unique_ptr<Catalogue> catalogue = load_fixtures({"good", "wrong_abi"});
  CHECK(catalogue->resolve_op("good/add", "study.lua:3").name == "add");
  CHECK(catalogue->resolve_op("sum_bytes", "study.lua:3").id() == "good/sum_bytes");
  const auto refusal = [&](const std::string& name) {
    return message_of([&] { catalogue->resolve_op(name, "study.lua:3"); }, ErrorKind::usage);
  };
  CHECK_THAT(refusal("sum_byte"), Catch::StartsWith("study.lua:3: unknown op 'sum_byte'; did you mean 'sum_bytes'?"));
  CHECK_THAT(refusal("sum_byte"), Catch::Contains("disabled plugins: wrong_abi"));
  CHECK_THAT(refusal("good"), Catch::StartsWith("study.lua:3: unknown op 'good'; the plugin of that name has: add, "));
  CHECK_THAT(refusal("good/ad"),
             Catch::StartsWith("study.lua:3: unknown op 'good/ad'; did you mean 'add'?; plugin 'good' has: add, "));
  CHECK_THAT(refusal("godo/add"),
             Catch::StartsWith("study.lua:3: unknown op 'godo/add': there is no plugin 'godo'; did you mean 'good'?"));
  CHECK(refusal("wrong_abi/any") ==
        "study.lua:3: op 'wrong_abi/any' cannot be used: plugin 'wrong_abi' (" + fixture_file("wrong_abi").string() +
            ") is disabled: it was built for SDK ABI 999, this host has SDK ABI " + std::to_string(COLONNADE_SDK_ABI) +
            "; build it again with this Colonnade's SDK");
}

TEST_CASE("The first place a plugin is found in wins, and the others are reported") {
  const ScratchFolder folder;
  PluginPaths paths;  // the user's folders too
  paths.study = folder.path() / "study/plugins";
  paths.project = folder.path() / "project/plugins";
  const fs::path in_study = copy_fixture("good", paths.study);
  const fs::path in_project = copy_fixture("good", paths.project);
  copy_fixture("endless_op", paths.project);
  write_bytes(paths.project / "scribbles.so", "no plugin");
  write_bytes(paths.project / ".hidden.plugin.so", "no plugin");
  const fs::path in_user = copy_fixture("good", folder.path() / "user");
  ::setenv("COLONNADE_PLUGIN_PATH", (":" + (folder.path() / "user").string()).c_str(), 1);
  const std::vector<PluginInfo> found = discover_plugins(paths);
  ::unsetenv("COLONNADE_PLUGIN_PATH");
  const auto plugin = [&](const std::string& name) {
    return std::find_if(found.begin(), found.end(), [&](const PluginInfo& info) { return info.name == name; });
  };
  REQUIRE(plugin("good") != found.end());
  CHECK(plugin("good")->file == in_study);
  CHECK(plugin("good")->origin == "study");
  REQUIRE(plugin("good")->shadowed.size() >= 2);
  CHECK(plugin("good")->shadowed[0] == in_project);
  CHECK(plugin("good")->shadowed[1] == in_user);
  REQUIRE(plugin("endless_op") != found.end());
  CHECK(plugin("endless_op")->origin == "project");
  CHECK(plugin("scribbles") == found.end());
}

TEST_CASE("An explicit path must be a plugin or a folder") {
  const ScratchFolder folder;
  PluginPaths paths = bare_paths();
  paths.explicit_files_or_folders = {folder.path() / "none.plugin.so"};
  CHECK(message_of([&] { Catalogue::load(paths, {}); }, ErrorKind::usage) ==
        "plugin " + (folder.path() / "none.plugin.so").string() + ": there is no such file or folder");
  write_bytes(folder.path() / "thing.so", "");
  paths.explicit_files_or_folders = {folder.path() / "thing.so"};
  CHECK(message_of([&] { Catalogue::load(paths, {}); }, ErrorKind::usage) ==
        "plugin " + (folder.path() / "thing.so").string() + ": a plugin's file is called NAME.plugin.so");
}

TEST_CASE("A renamed plugin file is told to take its name back") {
  const ScratchFolder folder;
  fs::copy_file(fixture_file("good"), folder.path() / "best.plugin.so");
  PluginPaths paths = bare_paths();
  paths.explicit_files_or_folders = {folder.path()};
  const std::unique_ptr<Catalogue> catalogue = Catalogue::load(paths, {});
  CHECK(catalogue->find_plugin("best")->disabled ==
        "its stamp names it 'good', its file is best.plugin.so; call the file good.plugin.so");
}

TEST_CASE("Closure and code hashes") {
  const std::unique_ptr<Catalogue> catalogue = load_fixtures({"good", "endless_op", "wrong_abi"});
  CHECK(catalogue->closure({"good"}).size() == 1);
  CHECK(message_of([&] { catalogue->closure({"god"}); }, ErrorKind::environment) ==
        "plugin 'god' is needed and was not found; did you mean 'good'?");
  CHECK_THAT(message_of([&] { catalogue->closure({"wrong_abi"}); }, ErrorKind::environment),
             Catch::Contains("is needed and disabled: it was built for SDK ABI 999"));
  const Json code = catalogue->code_of({"good"});
  CHECK(code == Json{{"good", hash_file(fixture_file("good")).hex()}, {"sdk", hash_file(sdk_library()).hex()}});
  CHECK(catalogue->code_of({"good", "endless_op"}).size() == 3);
  const Json trusted = load_fixtures({"good"}, {}, true)->code_of({"good"});
  CHECK(trusted == Json{{"good", "version 1.0.0"}, {"sdk", "version " COLONNADE_VERSION}});
}

TEST_CASE("What a plugin requires is loaded before it and part of its code") {
  const std::unique_ptr<Catalogue> catalogue = load_fixtures({"dependent", "good", "endless_op"});
  REQUIRE(catalogue->find_plugin("dependent")->disabled == "");
  const std::vector<const PluginInfo*> closure = catalogue->closure({"dependent"});
  REQUIRE(closure.size() == 2);
  CHECK(closure[0]->name == "good");
  CHECK(closure[1]->name == "dependent");
  CHECK(catalogue->code_of({"dependent"}).contains("good"));
  CHECK_FALSE(catalogue->code_of({"good"}).contains("dependent"));
  CHECK(load_fixtures({"dependent"})->find_plugin("dependent")->disabled ==
        "it needs plugin 'good', which was not found");
}

TEST_CASE("What extends a plugin is part of its code") {
  const std::unique_ptr<Catalogue> catalogue = load_fixtures({"good", "extension", "dependent"});
  CHECK(catalogue->find_plugin("extension")->provides ==
        std::map<std::string, std::vector<std::string>>{{"fixture_kernel", {"good/fast"}}});
  const std::vector<const PluginInfo*> closure = catalogue->closure({"dependent"});
  REQUIRE(closure.size() == 3);
  CHECK(closure[0]->name == "good");
  CHECK(catalogue->code_of({"good"}).contains("extension"));
  CHECK(load_fixtures({"good"})->code_of({"good"}) != catalogue->code_of({"good"}));
}

TEST_CASE("Code for a device is part of what runs there, and of nothing else") {
  const std::unique_ptr<Catalogue> catalogue = load_fixtures({"good", "cuda", "on_cuda"});
  REQUIRE(catalogue->find_plugin("on_cuda")->disabled == "");
  CHECK(device_of(*catalogue->find_plugin("on_cuda")) == "cuda");
  CHECK(device_of(*catalogue->find_plugin("good")) == "cpu");
  CHECK(catalogue->closure({"good"}).size() == 1);
  CHECK(catalogue->code_of({"good"}) == load_fixtures({"good"})->code_of({"good"}));
  const std::vector<const PluginInfo*> closure = catalogue->closure({"good"}, "cuda");
  REQUIRE(closure.size() == 3);
  CHECK(closure[0]->name == "cuda");
  CHECK(closure[2]->name == "on_cuda");
  CHECK(catalogue->code_of({"good"}, "cuda").contains("on_cuda"));
  CHECK(message_of([&] { load_fixtures({"good"})->closure({"good"}, "cuda"); }, ErrorKind::environment) ==
        "plugin 'cuda' is needed for the device 'cuda' and was not found");
}

TEST_CASE("What needs a disabled plugin is disabled with it") {
  const ScratchFolder folder;
  write_bytes(folder.path() / "good.plugin.so", "no plugin at all");
  PluginPaths paths = bare_paths();
  paths.explicit_files_or_folders = {folder.path(), fixture_file("dependent"), fixture_file("extension")};
  const std::unique_ptr<Catalogue> catalogue = Catalogue::load(paths, {});
  CHECK(catalogue->find_plugin("dependent")->disabled == "it needs plugin 'good', which is disabled");
  CHECK(catalogue->find_plugin("extension")->disabled == "it needs plugin 'good', which is disabled");
  CHECK_THAT(catalogue->find_plugin("good")->disabled, Catch::Contains("is no shared object"));
  CHECK(catalogue->ops().empty());
}

TEST_CASE("One changed byte of a plugin changes its code, touching and moving it do not") {
  const ScratchFolder folder;
  PluginPaths paths = bare_paths();
  paths.explicit_files_or_folders = {copy_fixture("good", folder.path() / "a")};
  const fs::path cache = folder.path() / "cache";
  const Json before = Catalogue::load(paths, cache)->code_of({"good"});
  fs::last_write_time(folder.path() / "a/good.plugin.so", fs::file_time_type::clock::now());
  CHECK(Catalogue::load(paths, cache)->code_of({"good"}) == before);
  fs::rename(folder.path() / "a", folder.path() / "b");
  paths.explicit_files_or_folders = {folder.path() / "b"};
  CHECK(Catalogue::load(paths, cache)->code_of({"good"}) == before);
  std::string bytes = read_bytes(folder.path() / "b/good.plugin.so");
  const std::size_t place = bytes.find("Adds two numbers.");
  REQUIRE(place != std::string::npos);
  bytes[place] = 'a';
  fs::remove(folder.path() / "b/good.plugin.so");
  write_bytes(folder.path() / "b/good.plugin.so", bytes);
  const std::unique_ptr<Catalogue> changed = Catalogue::load(paths, cache);
  CHECK(changed->code_of({"good"}) != before);
  CHECK(changed->find_op("good/add")->doc == "adds two numbers.");
}

TEST_CASE("A warm catalogue reads one file, and a damaged cache costs time only") {
  const ScratchFolder folder;
  const auto load = [&] { return load_fixtures({"good", "endless_op", "crash_in_op"}, folder.path()); };
  const std::size_t ops = load()->ops().size();
  REQUIRE(ops > 10);
  const fs::path file = folder.path() / "catalogue";
  REQUIRE(fs::exists(file));
  const auto start = std::chrono::steady_clock::now();
  CHECK(load()->ops().size() == ops);
  const double milliseconds =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  CHECK(milliseconds < 100);  // a few; describing three plugins takes longer
  const std::string whole = read_bytes(file);
  for (const std::size_t place : {std::size_t{0}, std::size_t{40}, whole.size() / 2, whole.size() - 1}) {
    std::string damaged = whole;
    damaged[place] = static_cast<char>(damaged[place] ^ 4);
    write_bytes(file, damaged);
    CHECK(load()->ops().size() == ops);
    write_bytes(file, whole.substr(0, place));
    CHECK(load()->ops().size() == ops);
  }
  fs::remove(file);
  fs::create_directory(file);  // cannot be written either
  CHECK(load()->ops().size() == ops);
}
