#include <memory>

#include "kernel/cli/commands.h"
#include "kernel/plugin/loader.h"

namespace colonnade::host {

void add_describe_plugin_command(Commands& commands) {
  struct Options {
    std::vector<std::filesystem::path> required;
    std::filesystem::path file;
    int descriptor = 1;
  };
  const auto options = std::make_shared<Options>();
  CLI::App& command = commands.add("describe-plugin", "Describe a plugin's ops for the catalogue", "", [options] {
    return describe_plugin_main(options->required, options->file, options->descriptor);
  });
  command.group("");
  command.add_option("--load", options->required);
  command.add_option("--fd", options->descriptor);
  command.add_option("file", options->file)->required();
}

}  // namespace colonnade::host
