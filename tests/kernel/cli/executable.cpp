#include "tests/kernel/cli/executable.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>

#include "kernel/store/files.h"
#include "tests/kernel/study/support.h"

namespace colonnade::host {

CommandResult run_executable(const std::vector<std::string>& arguments, const std::filesystem::path& folder) {
  const TestFolder output;
  const std::string out = (output.path() / "out").string(), err = (output.path() / "err").string();
  std::vector<char*> argv = {const_cast<char*>("colonnade")};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("cannot fork");
  if (child == 0) {
    const bool ready = ::chdir(folder.c_str()) == 0 && std::freopen(out.c_str(), "w", stdout) &&
                       std::freopen(err.c_str(), "w", stderr) && std::freopen("/dev/null", "r", stdin);
    ::setenv("TERM", "dumb", 1);
    ::setenv("COLUMNS", "100", 1);
    if (ready) ::execv(COLONNADE_TEST_EXECUTABLE, argv.data());
    ::_exit(127);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child) throw std::runtime_error("cannot wait");
  CommandResult result;
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = read_file_if_there(out).value_or("");
  result.err = read_file_if_there(err).value_or("");
  return result;
}

}  // namespace colonnade::host
