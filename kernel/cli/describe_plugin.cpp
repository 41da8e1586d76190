#include <memory>

#include "kernel/cli/commands.h"
#include "kernel/plugin/loader.h"

namespace colonnade::host {
namespace {

struct DescribeOptions {
  std::vector<std::filesystem::path> required;
  std::filesystem::path file;
  int descriptor = 1;
};

}  // namespace

void add_describe_plugin_command(Commands& commands) {
  const auto options = std::make_shared<DescribeOptions>();
  CLI::App& command = commands.add("describe-plugin", "Describe a plugin's ops for the catalogue", "", [options] {
    return describe_plugin_main(options->required, options->file, options->descriptor);
  });
  command.group("");
  command.add_option("--load", options->required)->expected(1)->take_all();
  command.add_option("--fd", options->descriptor);
  command.add_option("file", options->file)->required();
}

}  // namespace colonnade::host
