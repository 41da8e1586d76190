#include "kernel/cli/commands.h"

int main(int argc, char** argv) {
  return colonnade::host::run_command_line(argc, argv);
}
