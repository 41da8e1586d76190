#pragma once

#include <lua.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/graph/node.h"

namespace colonnade::host {

// Chunks are named "@" and the file relative to the study's folder; those of the script library "@colonnade/grid.lua".
// A user's position is the innermost frame that is in neither C nor the library.

constexpr const char* library_prefix = "@colonnade/";

// An empty file where there is no such frame.
Where user_where(lua_State* L, int first_level = 0);
// "study.lua:12: ", ready to open a message; "" where there is none.
std::string user_position(lua_State* L, int first_level = 0);
// The positions of all the user's frames, innermost first: "study.lua:12".
std::vector<std::string> user_frames(lua_State* L, int first_level = 0);

// Names of the locals and upvalues that the innermost of the user's frames can see.
std::vector<std::string> visible_locals(lua_State* L);
// Whether a message opens with a position: "study.lua:12: ...".
bool has_position(std::string_view message);

}  // namespace colonnade::host
