#include <memory>

#include "kernel/cli/commands.h"
#include "kernel/evaluate/worker.h"

namespace colonnade::host {

void add_worker_command(Commands& commands) {
  const auto options = std::make_shared<WorkerOptions>();
  CLI::App& command =
      commands.add("worker", "Evaluate nodes for a coordinator", "", [options] { return worker_main(*options); });
  command.group("");
  command.add_option("--fd", options->fd)->required();
  command.add_option("--store", options->store)->required();
  command.add_option("--heartbeat", options->heartbeat_seconds);
  command.add_option("--checkpoint", options->checkpoint_seconds);
}

}  // namespace colonnade::host
