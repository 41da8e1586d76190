#include "kernel/lua/modules.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>

#include "kernel/lua/context.h"
#include "kernel/lua/describe.h"
#include "kernel/lua/op_module.h"
#include "kernel/lua/sandbox.h"

namespace colonnade::host {

namespace {

namespace fs = std::filesystem;

constexpr const char* library_module = "colonnade.";
constexpr std::size_t kLibraryModuleSize = 10;
const char loaded_key = 0;  // its address: a table of modules by name

struct ModuleFile {
  fs::path file;
  std::string chunk;  // its name in messages
};

// A dotted name of identifiers: nothing that could climb out of a folder.
bool is_module_name(const std::string& name) {
  constexpr const char* kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";
  return !name.empty() && name.find_first_not_of(kAllowed) == std::string::npos && name.front() != '.' &&
         name.back() != '.' && name.find("..") == std::string::npos;
}

ModuleFile locate(const StudyContext& context, const std::string& name) {
  const bool in_library = name.starts_with(library_module);
  std::string relative = in_library ? name.substr(kLibraryModuleSize) : name;
  std::replace(relative.begin(), relative.end(), '.', '/');
  relative += ".lua";
  if (in_library) return {context.scripts / relative, library_prefix + 1 + relative};
  return {context.folder / relative, relative};
}

// Names of modules in a folder, for the nearest one.
void collect_modules(const fs::path& folder, const std::string& prefix, std::vector<std::string>& names) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".lua") names.push_back(prefix + entry.path().stem().string());
  }
}

std::vector<std::string> known_modules(const StudyContext& context) {
  std::vector<std::string> names = {"colonnade"};
  collect_modules(context.scripts, library_module, names);
  collect_modules(context.folder, "", names);
  return names;
}

void push_loaded(lua_State* L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &loaded_key) != LUA_TNIL) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &loaded_key);
}

// Marks a module as being loaded, also when loading it fails.
class Requiring {
 public:
  Requiring(std::vector<std::string>& names, const std::string& name) : names_(names) { names_.push_back(name); }
  ~Requiring() { names_.pop_back(); }

 private:
  std::vector<std::string>& names_;
};

void run_file(lua_State* L, const ModuleFile& module, const std::string& name) {
  StudyContext& context = context_of(L);
  const Requiring requiring(context.requiring, name);
  context.description.sources.push_back(fs::canonical(module.file));
  const std::string text = read_script(module.file);
  LuaState& state = LuaState::of(L);
  if (L != state.main()) raise(L, "require belongs to the top of the study; adaptive arms use what was loaded there");
  state.load(text, module.chunk);
  push_globals(L);
  lua_setupvalue(L, -2, 1);
  lua_call(L, 0, 1);
}

}  // namespace

fs::path scripts_folder() {
  if (const char* chosen = std::getenv("COLONNADE_SCRIPTS"); chosen != nullptr && *chosen != '\0') return chosen;
  std::error_code error;
  const fs::path executable = fs::read_symlink("/proc/self/exe", error);
  return executable.parent_path().parent_path() / "share" / "colonnade" / "scripts";
}

std::string read_script(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw Error(ErrorKind::usage, file.string() + ": this file cannot be read");
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

int require_module(lua_State* L) {
  StudyContext& context = context_of(L);
  if (lua_type(L, 1) != LUA_TSTRING) raise(L, fmt::format("require takes a module's name, not {}", described(L, 1)));
  const std::string name = text_at(L, 1);
  push_loaded(L);
  push_text(L, name);
  if (lua_rawget(L, -2) != LUA_TNIL) return 1;
  lua_pop(L, 1);

  if (name == "colonnade") {
    push_op_module(L);
  } else {
    const ModuleFile module = locate(context, name);
    std::error_code error;
    if (!is_module_name(name) || !fs::is_regular_file(module.file, error)) {
      raise(L, fmt::format(
                   "there is no module '{}'{}{} A module is a Lua file in the study's folder, or 'colonnade.NAME' of "
                   "the script library",
                   name, did_you_mean(name, known_modules(context)),
                   nearest_name(name, known_modules(context)).empty() ? "." : ""));
    }
    if (std::find(context.requiring.begin(), context.requiring.end(), name) != context.requiring.end()) {
      raise(L, fmt::format("a cycle of modules: {} requires {}", fmt::join(context.requiring, " requires "), name));
    }
    run_file(L, module, name);
    if (lua_isnil(L, -1)) {
      lua_pop(L, 1);
      lua_pushboolean(L, 1);
    }
  }
  push_text(L, name);
  lua_pushvalue(L, -2);
  lua_rawset(L, -4);
  return 1;
}

}  // namespace colonnade::host
