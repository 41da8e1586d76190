#include "kernel/study/settings.h"

#include <catch2/catch.hpp>

#include "tests/kernel/study/support.h"

using namespace colonnade;
using namespace colonnade::host;
using Catch::Contains;

namespace {

constexpr const char* settings_text = R"(steps = 600
rate = 0.5
name = "base"
draw = true
levels = [1, 2]

[text]
path = "data/text"

[profiles.pilot]
steps = 5
text.path = "small"

[profiles.long]
steps = 5000
)";

class Study : public TestFolder {
 public:
  explicit Study(const std::string& settings = settings_text) {
    write("study.lua", "return 1");
    write("study.toml", settings);
  }
  Settings load(const std::string& profile = "", const std::vector<std::string>& overrides = {}) const {
    return load_settings(path(), profile, overrides);
  }
  std::string error(const std::string& profile = "", const std::vector<std::string>& overrides = {}) const {
    return error_of([&] { load(profile, overrides); });
  }
  std::string file() const {
    return (path() / "study.toml").lexically_proximate(std::filesystem::current_path()).string();
  }
};

}  // namespace

TEST_CASE("settings come from the file, a profile, and the command line, in this order") {
  const Study study;
  CHECK(study.load().values.at("steps") == 600);
  CHECK(study.load().profiles == std::vector<std::string>{"long", "pilot"});
  CHECK_FALSE(study.load().values.contains("profiles"));
  const Settings pilot = study.load("pilot");
  CHECK(pilot.values.at("steps") == 5);
  CHECK(pilot.values.at("text").at("path") == "small");
  CHECK(pilot.values.at("rate") == 0.5);
  CHECK(study.load("pilot", {"steps=7"}).values.at("steps") == 7);
  CHECK(study.load("", {"steps=7", "steps=8"}).values.at("steps") == 8);
}

TEST_CASE("what --set gives is typed by TOML's syntax, or else a string") {
  const Study study;
  const auto value = [&](const std::string& text) { return study.load("", {text}); };
  CHECK(value("new=1").values.at("new").is_number_integer());
  CHECK(value("new=1.0").values.at("new").is_number_float());
  CHECK(value("new=true").values.at("new") == true);
  CHECK(value("new=[1, 2.5]").values.at("new") == Json::array({1, 2.5}));
  CHECK(value("new=\"1\"").values.at("new") == "1");
  CHECK(value("new=plain words").values.at("new") == "plain words");
  CHECK(value("new=1979-05-27").values.at("new") == "1979-05-27");
  CHECK(value("new=a=b").values.at("new") == "a=b");
  CHECK(value("one.two.three=1").values.at("one").at("two").at("three") == 1);
}

TEST_CASE("an override takes the type that the setting has, as far as nothing is lost") {
  const Study study;
  CHECK(study.load("", {"rate=1"}).values.at("rate").is_number_float());
  CHECK(study.load("", {"name=12"}).values.at("name") == "12");
  CHECK(study.error("", {"steps=many"}) ==
        "--set steps: steps = \"many\" is a string, but " + study.file() + ":1 has an integer (600)");
  CHECK(study.error("", {"steps=1.5"}) ==
        "--set steps: steps = 1.5 is a real number, but " + study.file() + ":1 has an integer (600)");
  CHECK_THAT(study.error("", {"text=1"}), Contains("text is a table of settings: path"));
}

TEST_CASE("paths on the command line are relative to the working folder") {
  const Study study;
  const auto here = std::filesystem::current_path();
  CHECK(study.load("", {"text.path=some/where"}).values.at("text").at("path") == (here / "some/where").string());
  CHECK(study.load("", {"text.path=12"}).values.at("text").at("path") == (here / "12").string());
  CHECK(study.load().values.at("text").at("path") == "data/text");
  CHECK(names_a_path("text.path"));
  CHECK(names_a_path("train_file"));
  CHECK_FALSE(names_a_path("xpath"));
  CHECK_FALSE(names_a_path("path.depth"));
}

TEST_CASE("mistakes in settings name where they are and what is allowed") {
  const Study study;
  CHECK(study.error("pliot") == "--profile pliot: unknown profile; did you mean 'pilot'? Profiles: long, pilot");
  CHECK(study.error("", {"steps"}) == "--set steps: expected NAME=VALUE");
  CHECK(study.error("", {".a=1"}) == "--set .a: no name of a setting");
  CHECK(study.error("", {"threads=0"}) == "--set: threads = 0; allowed: an integer from 1 to 1024");
  CHECK(study.error("", {"device=gpu"}) == "--set: device = \"gpu\"; allowed: cpu, auto, cuda");
  CHECK(study.error("", {"checkpoint_seconds=-1"}) == "--set: checkpoint_seconds = -1; allowed: seconds, at least 0");
  CHECK(study.error("", {"visualization=1"}) == "--set: visualization = 1; allowed: true, false");
  CHECK_THAT(study.error("", {"seeds=[1, 1]"}), Contains("a list of different integers of at least 0"));
  const Study none("");
  CHECK(none.error("pilot") == "--profile pilot: unknown profile; the study has no profiles");
  const Study broken("steps = 1\nrate = = 2\n");
  CHECK_THAT(broken.error(), Contains("study.toml:2: "));
  const Study dated("when = 1979-05-27\n");
  CHECK_THAT(dated.error(), Contains("study.toml:1: when is a date or time"));
  const Study infinite("rate = inf\n");
  CHECK_THAT(infinite.error(), Contains("study.toml:1: rate is not a finite number"));
  const Study flat("[profiles]\npilot = 3\n");
  CHECK_THAT(flat.error(), Contains("study.toml:2: profiles.pilot is an integer; a profile is a table of settings"));
}

TEST_CASE("bytes that are no UTF-8 are refused like any other wrong value") {
  const Study study;
  CHECK(study.error("", {"device=\xff"}) == "--set: device = \"\uFFFD\"; allowed: cpu, auto, cuda");
  CHECK(study.error("", {"steps=\xff"}) ==
        "--set steps: steps = \"\uFFFD\" is a string, but " + study.file() + ":1 has an integer (600)");
}

TEST_CASE("the host's own settings are checked and have defaults") {
  const Study study("threads = 2\nseeds = 3\nplugins = [\"mine\"]\n");
  const HostSettings host = host_settings(study.load());
  CHECK(host.threads == 2);
  CHECK(host.seeds == std::vector<std::uint64_t>{0, 1, 2});
  CHECK(host.simd == "portable");
  CHECK(host.retries == 1);
  CHECK(host.checkpoint_seconds == 10);
  CHECK(host.visualization);
  REQUIRE(host.plugins.size() == 1);
  CHECK(host.plugins[0] == std::filesystem::canonical(study.path()) / "mine");
}

TEST_CASE("a setting that neither file nor study knows is refused with the nearest name") {
  const Study study("steps = 1\n\n[profiles.pilot]\nstpes = 2\n");
  StudyDescription description;
  description.used_settings = {{"epochs", 3}, {"steps", 1}, {"text.path", "x"}};
  const auto error = [&](const std::string& profile, const std::vector<std::string>& overrides) {
    const Settings settings = study.load(profile, overrides);
    return error_of([&] { refuse_unknown_settings(settings, description); });
  };
  CHECK(error("", {"epochs=2", "steps=2", "text.path=y", "workers=2"}) == "");
  CHECK_THAT(error("", {"epohcs=2"}), Contains("--set: unknown setting 'epohcs'; did you mean 'epochs'?"));
  CHECK_THAT(error("", {"worker=2"}), Contains("did you mean 'workers'?"));
  CHECK_THAT(error("pilot", {}),
             Contains("study.toml:4 (profile pilot): unknown setting 'stpes'; did you mean 'steps'?"));
  CHECK_THAT(error("", {"--epohcs=2"}), Contains("--epohcs: unknown setting 'epohcs'; did you mean 'epochs'?"));
}

TEST_CASE("what stands at the file's top level and nothing reads is refused") {
  const Study study("steps = 1\nthraeds = 1\n\n[notes]\nauthor = \"me\"\n");
  StudyDescription description;
  description.used_settings = {{"steps", 1}};
  const auto error = [&](const std::vector<std::string>& overrides) {
    const Settings settings = study.load("", overrides);
    return error_of([&] { refuse_unknown_settings(settings, description); });
  };
  const std::string message = study.file() + ":2: nothing reads 'thraeds'; did you mean 'threads'?";
  CHECK_THAT(error({}), Catch::StartsWith(message));
  CHECK_THAT(error({"thraeds=2"}), Catch::StartsWith(message));
  description.used_settings["thraeds"] = 1;
  CHECK(error({}) == "");  // tables may hold what they like
}

TEST_CASE("a setting that was written as an option is called so in messages") {
  const Study study("threads = 2\nsteps = 1\nvisualization = true\n");
  const auto error = [&](const std::string& option) { return error_of([&] { study.load("", {option}); }); };
  CHECK_THAT(error("--threads=two"),
             Catch::StartsWith("--threads, instead of " + study.file() + ":1: threads = \"two\""));
  CHECK_THAT(error("--steps=few"), Catch::StartsWith("--steps: steps = \"few\" is a string"));
  const Settings settings = study.load("", {"--disable-visualization=false", "--arm-steps=3"});
  CHECK(settings.values.at("visualization") == false);
  CHECK(settings.values.at("arm_steps") == 3);
  CHECK(settings.origin.at("arm_steps").text() == "--arm-steps");
}

TEST_CASE("a study is a folder with study.lua or a Lua file; its neighbours are offered") {
  const TestFolder folder;
  folder.write("quickstart/study.lua", "");
  folder.write("empty/readme", "");
  CHECK_THAT(error_of([&] { load_settings(folder.path() / "quikstart", "", {}); }),
             Contains("no such study; did you mean '" + (folder.path() / "quickstart").string() + "'?"));
  CHECK_THAT(error_of([&] { load_settings(folder.path() / "empty", "", {}); }),
             Contains("no study.lua in this folder"));
  CHECK_NOTHROW(load_settings(folder.path() / "quickstart" / "study.lua", "", {}));
}
