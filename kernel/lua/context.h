#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "kernel/lua/handles.h"
#include "kernel/lua/state.h"
#include "kernel/study/study.h"

namespace colonnade::host {

// What an adaptive arm waits for while its coroutine is suspended.
struct ArmRun {
  lua_State* thread = nullptr;
  int anchor = LUA_NOREF;  // keeps the coroutine from being collected
  std::uint64_t seed = 0;
  std::vector<FieldRef> needs;  // as asked for, seeds unbound
  bool attempt = false;         // asked by col.attempt
  std::vector<Json> answers;
  std::string refusal;  // in place of the answers
};

// What the bindings of one study share; owned by the loaded study, reached from Lua through `context_of`.
struct StudyContext {
  StudyContext(const Catalogue& the_catalogue, const Settings& the_settings)
      : catalogue(the_catalogue), settings(the_settings) {}

  const Catalogue& catalogue;
  const Settings settings;
  std::filesystem::path folder;   // of the study, absolute
  std::filesystem::path scripts;  // the script library
  NodeFactory nodes;
  StudyDescription description;
  bool described = false;          // col.study was called
  std::vector<int> arm_functions;  // by arm: an adaptive arm's function in the registry, or LUA_NOREF
  int metrics_function = LUA_NOREF;
  int files_function = LUA_NOREF;
  ArmRun* running = nullptr;           // the adaptive arm whose coroutine runs now
  std::set<std::string> noted;         // collisions of a field and a method that were reported
  std::vector<std::string> requiring;  // modules being loaded, outermost first
};

inline StudyContext& context_of(lua_State* L) {
  return LuaState::owner_of<StudyContext>(L);
}

}  // namespace colonnade::host
