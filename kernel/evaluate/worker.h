#pragma once

#include <filesystem>

namespace colonnade::host {

struct WorkerOptions {
  int fd = -1;  // the socket to the coordinator
  std::filesystem::path store;
  double heartbeat_seconds = 1;
  double checkpoint_seconds = 10;  // how often an op is told that a checkpoint is due
};

// The body of `colonnade worker`: evaluates one task after another until the coordinator goes away. Returns only where
// it cannot start (with an exit code, having written why to stderr).
int worker_main(const WorkerOptions& options);

}  // namespace colonnade::host
