#include "kernel/lua/loaded_study.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "kernel/lua/adaptive.h"
#include "kernel/lua/context.h"
#include "kernel/lua/describe.h"
#include "kernel/lua/describe_study.h"
#include "kernel/lua/modules.h"
#include "kernel/lua/sandbox.h"
#include "kernel/study/locate.h"

namespace colonnade::host {

namespace {

namespace fs = std::filesystem;

// The study's folder as messages show it: as the user named it.
std::string shown_folder(const fs::path& study) {
  std::error_code error;
  fs::path folder = fs::is_directory(study, error) ? study : study.parent_path();
  if (!folder.has_filename()) folder = folder.parent_path();
  const std::string text = folder.lexically_normal().string();
  return text == "." ? "" : text;
}

// Where a function in the registry is written: "study.lua:12: ".
std::string definition(lua_State* L, int function) {
  lua_Debug about;
  lua_rawgeti(L, LUA_REGISTRYINDEX, function);
  lua_getinfo(L, ">S", &about);
  return about.source[0] == '@' ? fmt::format("{}:{}: ", about.source + 1, about.linedefined) : "";
}

// The number of the last line that is not empty.
std::ptrdiff_t last_line(const std::string& text) {
  const std::size_t end = text.find_last_not_of("\n\r\t ");
  return end == std::string::npos ? 1
                                  : std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end), '\n') + 1;
}

class LuaStudy final : public LoadedStudy {
 public:
  LuaStudy(const fs::path& study, const Settings& settings, const Catalogue& catalogue, const LuaLimits& limits)
      : context_(catalogue, settings), state_(limits, &context_, shown_folder(study)) {
    const StudyFiles files = locate_study(study);
    context_.folder = files.folder;
    context_.scripts = scripts_folder();
    state_.run([](lua_State* L) {
      open_sandbox(L);
      register_handles(L);
      lua_pushcfunction(L, &guarded<require_module>);
      add_global(L, "require");
    });
    run_file(files.lua);
  }

  const StudyDescription& description() const override { return context_.description; }
  NodeFactory& nodes() override { return context_.nodes; }

  AdaptiveStep start(std::size_t arm, std::uint64_t seed) override {
    const Arm& described_arm = context_.description.arms.at(arm);
    const int function = context_.arm_functions.at(arm);
    return step(arm, seed, [&] {
      ArmRun& run = runs_[{arm, seed}];
      run.seed = seed;
      state_.run([&](lua_State* L) {
        run.thread = lua_newthread(L);
        run.anchor = luaL_ref(L, LUA_REGISTRYINDEX);
        lua_rawgeti(L, LUA_REGISTRYINDEX, function);
        push_trial(L, described_arm.name, described_arm.point, seed);
        lua_xmove(L, run.thread, 2);
      });
      return 1;
    });
  }

  AdaptiveStep resume(std::size_t arm, std::uint64_t seed, const std::vector<Json>& values) override {
    return step(arm, seed, [&] {
      ArmRun& run = runs_.at({arm, seed});
      if (values.size() != run.needs.size()) {
        throw Error(ErrorKind::environment,
                    fmt::format("an arm waits for {} values and was given {}", run.needs.size(), values.size()));
      }
      run.answers = values;
      run.refusal.clear();
      return 0;
    });
  }

  AdaptiveStep refuse(std::size_t arm, std::uint64_t seed, const std::string& refusal) override {
    return step(arm, seed, [&] {
      runs_.at({arm, seed}).refusal = refusal;
      return 0;
    });
  }

 private:
  void run_file(const fs::path& file) {
    context_.description.sources.push_back(file);
    const std::string chunk = file.filename().string();
    const std::string text = read_script(file);
    try {
      state_.load(text, chunk);
    } catch (const Error& error) {
      throw Error(error.kind(), state_.displayed(error.what()));
    }
    lua_State* L = state_.main();
    push_globals(L);
    lua_setupvalue(L, -2, 1);
    state_.call(0, 1);
    const bool is_study = object_at<StudyHandle>(L, -1) != nullptr;
    const std::string found = described(L, -1);
    lua_pop(L, 1);
    if (is_study) return;
    throw Error(ErrorKind::usage, state_.displayed(fmt::format("{}:{}: the file returns {}; it must end in 'return "
                                                               "col.study {{...}}'",
                                                               chunk, last_line(text), found)));
  }

  // Prepares by `prepare` (which gives the number of arguments on the coroutine), then runs the arm up to its next
  // question or its end.
  template <typename Prepare>
  AdaptiveStep step(std::size_t arm, std::uint64_t seed, Prepare prepare) {
    AdaptiveStep result;
    try {
      const int arguments = prepare();
      ArmRun& run = runs_.at({arm, seed});
      context_.running = &run;
      const LuaState::Resumed resumed = state_.resume(run.thread, arguments);
      context_.running = nullptr;
      if (resumed == LuaState::Resumed::yielded) {
        for (const FieldRef& need : run.needs) result.needs.push_back(context_.nodes.bind(need, seed));
        result.attempt = run.attempt;
        return result;
      }
      finish(arm, run, result);
      release(arm, seed);
    } catch (const Error& error) {
      context_.running = nullptr;
      release(arm, seed);
      result = AdaptiveStep();
      result.error = error.what();
    } catch (...) {
      context_.running = nullptr;
      throw;
    }
    return result;
  }

  void finish(std::size_t arm, const ArmRun& run, AdaptiveStep& result) {
    const Arm& described_arm = context_.description.arms[arm];
    state_.run([&](lua_State* L) {
      if (lua_gettop(run.thread) == 0) lua_pushnil(run.thread);
      lua_settop(run.thread, 1);
      lua_xmove(run.thread, L, 1);
      try {
        const std::optional<FieldRef> output = field_at(L, -1);
        if (!output) {
          raise(L,
                fmt::format("arm '{}' returned {}; allowed: a node or a field", described_arm.name, described(L, -1)));
        }
        result.output = context_.nodes.bind(*output, run.seed);
        result.files = files_of_model(L, described_arm.name, described_arm.point);
        result.metrics = metrics_of_model(L, described_arm.name, described_arm.point);
      } catch (const Error& error) {  // no frame of the user's is left: the arm's own line
        throw Error(error.kind(), definition(L, context_.arm_functions[arm]) + error.what());
      }
    });
    for (MetricRef& metric : result.metrics) metric.from = context_.nodes.bind(metric.from, run.seed);
    for (MetricRef& file : result.files) file.from = context_.nodes.bind(file.from, run.seed);
  }

  void release(std::size_t arm, std::uint64_t seed) {
    const auto run = runs_.find({arm, seed});
    if (run == runs_.end()) return;
    luaL_unref(state_.main(), LUA_REGISTRYINDEX, run->second.anchor);
    runs_.erase(run);
  }

  StudyContext context_;
  LuaState state_;  // dies first: its handles refer to the context
  std::map<std::pair<std::size_t, std::uint64_t>, ArmRun> runs_;
};

}  // namespace

std::unique_ptr<LoadedStudy> load_study(const fs::path& study, const Settings& settings, const Catalogue& catalogue,
                                        const LuaLimits& limits) {
  return std::make_unique<LuaStudy>(study, settings, catalogue, limits);
}

std::unique_ptr<LoadedStudy> LoadedStudy::load(const fs::path& study, const Settings& settings,
                                               const Catalogue& catalogue) {
  return load_study(study, settings, catalogue, LuaLimits());
}

}  // namespace colonnade::host
