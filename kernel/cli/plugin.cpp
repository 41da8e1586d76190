#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>

#include "colonnade/error.h"
#include "kernel/cli/commands.h"
#include "kernel/cli/options.h"
#include "kernel/cli/output.h"
#include "kernel/study/hints.h"

namespace colonnade::host {
namespace {

struct PluginOptions : CommonOptions {
  std::string name;
};

Json plugin_json(const PluginInfo& plugin) {
  Json ops = Json::array();
  for (const OpSchema& op : plugin.ops) ops.push_back(op.id());
  Json shadowed = Json::array();
  for (const auto& file : plugin.shadowed) shadowed.push_back(file.string());
  return {{"name", plugin.name},
          {"file", plugin.file.string()},
          {"origin", plugin.origin},
          {"version", plugin.stamp.version},
          {"torch", plugin.stamp.torch},
          {"requires", plugin.stamp.requires_plugins},
          {"extends", plugin.stamp.extends_plugins},
          {"hash", plugin.binary.hex()},
          {"ops", ops},
          {"provides", plugin.provides},
          {"disabled", plugin.disabled},
          {"shadowed", shadowed}};
}

int list_plugins(const CommonOptions& options) {
  const auto catalogue = options.catalogue();
  if (options.json) {
    Json list = Json::array();
    for (const PluginInfo& plugin : catalogue->plugins()) list.push_back(plugin_json(plugin));
    print_json(list);
    return 0;
  }
  ScreenTable table({"plugin", "version", "from", "ops", "state"});
  for (const PluginInfo& plugin : catalogue->plugins()) {
    std::string reason = plugin.disabled;
    std::replace(reason.begin(), reason.end(), '\n', ' ');
    table.add(
        {plugin.name, plugin.stamp.version, plugin.origin, std::to_string(plugin.ops.size()),
         plugin.disabled.empty() ? (plugin.shadowed.empty() ? "ok" : "ok, shadows others") : "disabled: " + reason});
  }
  say("{}", table.empty() ? "no plugins were found\n" : table.text());
  return 0;
}

int plugin_info(const PluginOptions& options) {
  const auto catalogue = options.catalogue();
  const PluginInfo* plugin = catalogue->find_plugin(options.name);
  if (!plugin) {
    std::vector<std::string> names;
    for (const PluginInfo& known : catalogue->plugins()) names.push_back(known.name);
    throw Error(ErrorKind::usage, fmt::format("no plugin '{}'{}", options.name,
                                              then(did_you_mean(options.name, names),
                                                   "'colonnade plugin list' names those that were found")));
  }
  if (options.json) {
    print_json(plugin_json(*plugin));
    return 0;
  }
  const Stamp& stamp = plugin->stamp;
  if (stamp.name.empty()) {
    say("{}\nfile      {} ({})\nstamp     none that can be read\n", plugin->name, plugin->file.string(),
        plugin->origin);
  } else {
    say("{} {}\nfile      {} ({})\nhash      {}\nbuilt     {}, C++ {}, SDK ABI {}, LibTorch {}\n", plugin->name,
        stamp.version, plugin->file.string(), plugin->origin, plugin->binary.hex(), stamp.compiler, stamp.standard,
        stamp.abi, stamp.torch);
  }
  if (!stamp.requires_plugins.empty()) say("requires  {}\n", fmt::join(stamp.requires_plugins, ", "));
  if (!stamp.extends_plugins.empty()) say("extends   {}\n", fmt::join(stamp.extends_plugins, ", "));
  for (const auto& file : plugin->shadowed) say("shadows   {}\n", file.string());
  if (!plugin->disabled.empty()) say("disabled  {}\n", plugin->disabled);
  ScreenTable ops({"op", "what"});
  for (const OpSchema& op : plugin->ops) ops.add({op.id(), op.doc.substr(0, op.doc.find('\n'))});
  if (!ops.empty()) say("\n{}", ops.text());
  for (const auto& [kind, ids] : plugin->provides) say("provides {}: {}\n", kind, fmt::join(ids, ", "));
  return 0;
}

}  // namespace

void add_plugin_command(Commands& commands) {
  CLI::App& group = commands.add("plugin", "List plugins, or show one", "colonnade plugin list", nullptr);
  group.require_subcommand(1);
  const auto list_options = std::make_shared<CommonOptions>();
  CLI::App& list = commands.add_to(group, "list", "List the plugins that were found, disabled ones with their reason",
                                   "colonnade plugin list", [list_options] { return list_plugins(*list_options); });
  const auto info_options = std::make_shared<PluginOptions>();
  CLI::App& info =
      commands.add_to(group, "info", "Show where a plugin lies, how it was built and what it offers",
                      "colonnade plugin info metrics", [info_options] { return plugin_info(*info_options); });
  info.add_option("name", info_options->name, "The plugin's name")->required();
  for (const auto& [command, options] :
       {std::pair<CLI::App*, CommonOptions*>{&list, list_options.get()}, {&info, info_options.get()}}) {
    options->declare_plugins(*command);
    options->declare_project(*command);
    options->declare_json(*command);
  }
}

}  // namespace colonnade::host
