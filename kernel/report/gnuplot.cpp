#include "kernel/report/gnuplot.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "kernel/report/letters.h"

namespace colonnade::host {

namespace {

constexpr std::chrono::seconds time_limit{60};
constexpr std::chrono::milliseconds poll_interval{3};
constexpr std::size_t shown_noise = 300;  // characters of the end of what gnuplot says

// A folder for one run of gnuplot.
class WorkFolder {
 public:
  WorkFolder() {
    std::error_code error;
    std::string pattern = (std::filesystem::temp_directory_path(error) / "colonnade-figure-XXXXXX").string();
    if (!error && ::mkdtemp(pattern.data()) != nullptr) path_ = pattern;
  }
  ~WorkFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string read_whole(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream bytes;
  bytes << in.rdbuf();
  return bytes.str();
}

// The caller's, without what would change how gnuplot draws.
std::vector<std::string> environment() {
  std::vector<std::string> kept = {"LC_ALL=C"};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const bool changes = text.starts_with("GNUPLOT") || text.starts_with("LC_") || text.starts_with("LANG") ||
                         text.starts_with("GNUTERM");
    if (!changes) kept.push_back(text);
  }
  return kept;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

int spawn_in(const std::filesystem::path& folder, pid_t& process) {
  std::vector<std::string> arguments = {"gnuplot", "-d", "figure.gp"}, variables = environment();
  const std::string noise = (folder / "noise").string();
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, noise.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  ::posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  ::posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
  ::posix_spawnattr_init(&attributes);
  sigset_t none;
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  const int error = ::posix_spawnp(&process, "gnuplot", &actions, &attributes, pointers_to(arguments).data(),
                                   pointers_to(variables).data());
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  return error;
}

// How it failed, "" if it did not. After the time limit it is ended.
std::string wait_for(pid_t process) {
  const auto deadline = std::chrono::steady_clock::now() + time_limit;
  int status = 0;
  for (;;) {
    const pid_t ended = ::waitpid(process, &status, WNOHANG);
    if (ended == process) break;
    if (ended < 0 && errno != EINTR) return fmt::format("gnuplot could not be waited for: {}", std::strerror(errno));
    if (std::chrono::steady_clock::now() > deadline) {
      ::kill(process, SIGKILL);
      while (::waitpid(process, &status, 0) < 0 && errno == EINTR) continue;
      return fmt::format("gnuplot took more than {} s and was ended", time_limit.count());
    }
    std::this_thread::sleep_for(poll_interval);
  }
  if (WIFSIGNALED(status)) return fmt::format("gnuplot died of signal {}", WTERMSIG(status));
  if (WEXITSTATUS(status) == 127) return "gnuplot is not installed";
  return WEXITSTATUS(status) == 0 ? "" : "gnuplot failed";
}

// gnuplot names itself and its version in a title and a description.
void strip_svg(std::string& svg) {
  for (const auto& [start, end] :
       {std::pair<std::string, std::string>("<title>Gnuplot</title>\n", ""), {"<desc>", "</desc>\n"}}) {
    const std::size_t from = svg.find(start);
    if (from == std::string::npos) continue;
    const std::size_t to = end.empty() ? from + start.size() : svg.find(end, from) + end.size();
    svg.erase(from, to - from);
  }
  // Where the reader's machine has another font, one with the same widths.
  const std::string family = "font-family=\"DejaVu Sans\"",
                    with_fallbacks = "font-family=\"DejaVu Sans, Verdana, sans-serif\"";
  for (std::size_t at = svg.find(family); at != std::string::npos; at = svg.find(family, at + with_fallbacks.size())) {
    svg.replace(at, family.size(), with_fallbacks);
  }
}

// Keeps the chunks that make the picture: texts and times are not among them.
std::string picture_chunks(const std::string& png) {
  constexpr std::size_t signature = 8, frame = 12;  // length, type and checksum of a chunk
  if (png.size() < signature) return "";
  std::string out = png.substr(0, signature);
  for (std::size_t at = signature; at + frame <= png.size();) {
    std::size_t length = 0;
    for (std::size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<unsigned char>(png[at + i]);
    if (at + frame + length > png.size()) return "";
    const std::string type = png.substr(at + 4, 4);
    if (type == "IHDR" || type == "PLTE" || type == "tRNS" || type == "IDAT" || type == "IEND")
      out += png.substr(at, frame + length);
    at += frame + length;
  }
  return out;
}

std::string failure_of(const std::filesystem::path& folder, const std::string& ending) {
  std::string noise = read_whole(folder / "noise");
  if (noise.size() > shown_noise) noise.erase(0, noise.size() - shown_noise);  // the last lines say what went wrong
  for (char& c : noise) c = static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  const bool silent = noise.find_first_not_of(' ') == std::string::npos;
  return silent ? ending : ending + ": " + noise;
}

Drawing run(const std::string& script) {
  const WorkFolder folder;
  if (folder.path().empty()) return {"", "", "no folder for temporary files can be made"};
  if (!(std::ofstream(folder.path() / "figure.gp", std::ios::binary) << script).flush())
    return {"", "", "the temporary folder cannot be written"};
  pid_t process = -1;
  const int error = spawn_in(folder.path(), process);
  if (error == ENOENT) return {"", "", "gnuplot is not installed"};
  if (error != 0) return {"", "", fmt::format("gnuplot could not be started: {}", std::strerror(error))};
  const std::string ending = wait_for(process);
  if (!ending.empty()) return {"", "", failure_of(folder.path(), ending)};
  Drawing drawing{read_whole(folder.path() / "figure.svg"), picture_chunks(read_whole(folder.path() / "figure.png")),
                  ""};
  if (drawing.svg.empty() || drawing.png.empty())
    return {"", "", failure_of(folder.path(), "gnuplot wrote no picture")};
  strip_svg(drawing.svg);
  return drawing;
}

}  // namespace

Drawing draw_with_gnuplot(const std::string& script) {
  Drawing drawing = run(script);
  // A letter without a font spoils a PNG, while an SVG is drawn with the fonts of its reader.
  const std::string drawable = with_drawable_letters(script);
  if (!drawing.problem.empty() || drawable == script) return drawing;
  Drawing again = run(drawable);
  drawing.png = std::move(again.png);
  drawing.problem = std::move(again.problem);
  return drawing;
}

}  // namespace colonnade::host
