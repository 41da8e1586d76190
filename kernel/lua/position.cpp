#include "kernel/lua/position.h"

#include <string_view>

namespace colonnade::host {

namespace {

bool is_users(const lua_Debug& frame) {
  const std::string_view source = frame.source;
  return source.starts_with('@') && !source.starts_with(library_prefix) && frame.currentline > 0;
}

std::string spelled(const lua_Debug& frame) {
  return std::string(frame.source + 1) + ":" + std::to_string(frame.currentline);
}

// The first of the user's frames at `level` or above it; false where there is none.
bool next_frame(lua_State* L, int& level, lua_Debug& frame) {
  for (; lua_getstack(L, level, &frame) != 0; ++level) {
    lua_getinfo(L, "Sl", &frame);
    if (is_users(frame)) return true;
  }
  return false;
}

}  // namespace

Where user_where(lua_State* L, int first_level) {
  lua_Debug frame;
  if (!next_frame(L, first_level, frame)) return {};
  return {frame.source + 1, frame.currentline};
}

std::string user_position(lua_State* L, int first_level) {
  lua_Debug frame;
  return next_frame(L, first_level, frame) ? spelled(frame) + ": " : "";
}

std::vector<std::string> visible_locals(lua_State* L) {
  std::vector<std::string> names;
  lua_Debug frame;
  int level = 0;
  if (!next_frame(L, level, frame)) return names;
  const auto add = [&](const char* name) {
    if (name[0] != '(' && name[0] != '_') names.emplace_back(name);  // Lua's own temporaries, _ENV
    lua_pop(L, 1);
  };
  for (int i = 1; const char* name = lua_getlocal(L, &frame, i); ++i) add(name);
  lua_getinfo(L, "f", &frame);
  const int function = lua_gettop(L);
  for (int i = 1; const char* name = lua_getupvalue(L, function, i); ++i) add(name);
  lua_pop(L, 1);
  return names;
}

bool has_position(std::string_view message) {
  constexpr std::string_view kDigits = "0123456789", kEnding = ".lua:";
  const std::size_t ending = message.find(kEnding);
  if (ending == std::string_view::npos || message.substr(0, ending).find(' ') != std::string_view::npos) return false;
  const std::size_t number = ending + kEnding.size();
  const std::size_t after = message.find_first_not_of(kDigits, number);
  return after != std::string_view::npos && after > number && message[after] == ':';
}

std::vector<std::string> user_frames(lua_State* L, int first_level) {
  // Finding a level takes as long as it is deep, and a runaway recursion is some 200,000 deep: nobody reads that far.
  constexpr std::size_t kMostFrames = 64;
  std::vector<std::string> frames;
  lua_Debug frame;
  for (; frames.size() < kMostFrames && next_frame(L, first_level, frame); ++first_level)
    frames.push_back(spelled(frame));
  return frames;
}

}  // namespace colonnade::host
