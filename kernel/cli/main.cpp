#include <fcntl.h>
#include <unistd.h>

#include "kernel/cli/commands.h"

namespace {

// The number of a standard stream that is closed would go to the next file that is opened, a journal perhaps, and what
// is printed would go there. Opened the wrong way round, it fails when it is used, as a closed one does.
void keep_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) >= 0) continue;
    if (::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY) != stream) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  keep_standard_streams();
  return colonnade::host::run_command_line(argc, argv);
}
