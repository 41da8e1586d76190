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

std::vector<std::string> user_frames(lua_State* L, int first_level) {
  std::vector<std::string> frames;
  lua_Debug frame;
  for (; next_frame(L, first_level, frame); ++first_level) frames.push_back(spelled(frame));
  return frames;
}

}  // namespace colonnade::host
