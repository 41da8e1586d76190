#include "kernel/plugin/loader.h"

#include <fmt/format.h>
#include <sys/prctl.h>

#include <boost/dll/shared_library.hpp>
#include <csignal>
#include <set>
#include <string_view>

#include "colonnade/error.h"
#include "colonnade/plugin.h"
#include "colonnade/text.h"
#include "kernel/store/files.h"

namespace colonnade::host {

namespace {

constexpr const char* descriptor_symbol = "colonnade_plugin";

struct LoadedPlugins {
  std::set<std::string> names;
  std::vector<boost::dll::shared_library> libraries;
};

// Never destroyed: code of plugins may run until the process ends.
LoadedPlugins& loaded_plugins() {
  static auto* const loaded = new LoadedPlugins;
  return *loaded;
}

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorKind::environment, why);
}

// What the dynamic linker said, out of the sentence that Boost wraps around it.
std::string linker_message(std::string_view text) {
  constexpr std::string_view opening = "dlerror system message: ";
  const std::size_t start = text.find(opening);
  if (start == std::string_view::npos) return std::string(text);
  text.remove_prefix(start + opening.size());
  return std::string(text.substr(0, text.rfind("): ")));
}

boost::dll::shared_library open_library(const PluginInfo& plugin) {
  try {
    namespace load_mode = boost::dll::load_mode;
    return boost::dll::shared_library(std::filesystem::absolute(plugin.file),
                                      load_mode::rtld_now | load_mode::rtld_local);
  } catch (const std::system_error& error) {
    refuse("it cannot be loaded: " + linker_message(error.what()));
  } catch (const std::exception& error) {
    refuse(fmt::format("it threw while it was loaded: {}", error.what()));
  }
}

void register_ops(const PluginInfo& plugin, const PluginDescriptor& descriptor) {
  Registrar registrar(plugin.name);
  if (char* message = descriptor.register_plugin(&registrar)) {
    const std::string text = message;
    descriptor.release(message);
    refuse("its registration failed: " + text);
  }
  try {
    Registry::instance().commit(std::move(registrar));
  } catch (const Error& error) {
    refuse(fmt::format("its registration was refused: {}", error.what()));
  }
}

// The three gates; messages begin with "it" or "its".
void load_through_gates(const PluginInfo& plugin) {
  LoadedPlugins& loaded = loaded_plugins();
  if (loaded.names.contains(plugin.name)) return;
  const std::vector<std::string> wrong = mismatches(read_stamp(plugin.file), plugin.file);
  if (!wrong.empty()) refuse(fmt::format("{}", fmt::join(wrong, "; ")));
  loaded.libraries.push_back(open_library(plugin));
  const boost::dll::shared_library& library = loaded.libraries.back();
  if (!library.has(descriptor_symbol)) {
    refuse(fmt::format("it has no symbol '{}'; end one of its source files with COLONNADE_PLUGIN(register_function)",
                       descriptor_symbol));
  }
  const auto& descriptor = library.get<const PluginDescriptor>(descriptor_symbol);
  if (descriptor.size < sizeof(PluginDescriptor) || descriptor.sdk_abi != COLONNADE_SDK_ABI) {
    refuse(fmt::format(
        "it has a descriptor of {} bytes for SDK ABI {}, this host wants {} bytes for SDK ABI {}; build it again "
        "with this Colonnade's SDK",
        descriptor.size, descriptor.sdk_abi, sizeof(PluginDescriptor), COLONNADE_SDK_ABI));
  }
  if (descriptor.name == nullptr || plugin.name != descriptor.name) {
    refuse(fmt::format("its stamp names it '{}', its descriptor '{}'", plugin.name,
                       descriptor.name == nullptr ? "" : descriptor.name));
  }
  if (descriptor.register_plugin == nullptr || descriptor.release == nullptr) refuse("its descriptor has no functions");
  register_ops(plugin, descriptor);
  loaded.names.insert(plugin.name);
}

PluginInfo plugin_in(const std::filesystem::path& file) {
  PluginInfo plugin;
  plugin.file = file;
  plugin.stamp = read_stamp(file);
  plugin.name = plugin.stamp.name;
  return plugin;
}

}  // namespace

void load_plugin(const PluginInfo& plugin) {
  try {
    load_through_gates(plugin);
  } catch (const Error& error) {
    throw Error(error.kind(), fmt::format("plugin {} ({}): {}", plugin.name, plugin.file.string(), error.what()));
  }
}

Json describe_loaded_plugin(const std::string& name) {
  Json ops = Json::array();
  for (const RegisteredOp* op : Registry::instance().ops()) {
    if (op->schema.plugin == name) ops.push_back(to_json(op->schema));
  }
  return {{"ops", ops}, {"provides", Registry::instance().provided_by(name)}};
}

int describe_plugin_main(const std::vector<std::filesystem::path>& required, const std::filesystem::path& file,
                         int descriptor) {
  constexpr int done = 0, failed = 3;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  Json result;
  int code = failed;
  try {
    for (const std::filesystem::path& path : required) load_plugin(plugin_in(path));
    const PluginInfo plugin = plugin_in(file);
    load_through_gates(plugin);
    result = describe_loaded_plugin(plugin.name);
    code = done;
  } catch (const std::exception& error) {
    result = {{"error", error.what()}};
  }
  const std::string text = json_text(result);
  write_all(descriptor, text.data(), text.size(), "the pipe to the catalogue");
  return code;
}

}  // namespace colonnade::host
