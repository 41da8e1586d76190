#include "kernel/evaluate/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <sstream>

#include "kernel/evaluate/progress_text.h"
#include "kernel/evaluate/system.h"

namespace colonnade::host {

namespace {

constexpr double kRedrawSeconds = 0.1;
constexpr double kRateSeconds = 5;  // over which a rate is taken
constexpr double kMomentSeconds = 1;
constexpr int kUsualWidth = 80;
constexpr int kMaxBars = 8;  // more running nodes than this are only counted

// One running node, with what its rate is taken from.
struct RunningNode {
  NodeProgress progress;
  double started = 0;
  double told = 0;  // when a log last had a line
  bool announced = false;
  int worker = 0;
  double mark_time = 0, previous_time = 0;
  std::int64_t mark_done = 0, previous_done = 0;

  void update(std::int64_t done, double now) {
    if (mark_time == 0 || done < mark_done) {
      mark_time = previous_time = now;  // the first sign: what came before may have been loaded, not computed
      mark_done = previous_done = done;
    } else if (now - mark_time >= kRateSeconds) {
      previous_time = mark_time;
      previous_done = mark_done;
      mark_time = now;
      mark_done = done;
    }
    if (now > previous_time && done > previous_done) {
      progress.rate = static_cast<double>(done - previous_done) / (now - previous_time);
    }
  }
};

std::string name_of(const NodeRef& node) {
  return node->label.empty() ? node->short_name() : node->label;
}

// " (study.lua:12)", where the node was written
std::string place_of(const Node& node) {
  if (node.where.file.empty()) return "";
  return node.where.line > 0 ? fmt::format(" ({}:{})", node.where.file, node.where.line)
                             : fmt::format(" ({})", node.where.file);
}

class Display : public ProgressDisplay {
 public:
  explicit Display(const ProgressOptions& options) : options_(options) {}
  void set_total(int nodes) override { total_ = nodes; }

  void on_found(const NodeRef&, const NodeResult&) override { ++found_; }
  void on_started(const NodeRef& node, const Hash&, int worker) override {
    RunningNode& running = running_[node->structure];
    running = {};
    running.progress.name = name_of(node);
    running.started = running.told = monotonic_seconds();
    running.worker = worker;
  }
  void on_progress(const NodeRef& node, std::int64_t done, std::int64_t total, const std::string& unit,
                   const std::vector<std::pair<std::string, double>>& metrics) override {
    const auto found = running_.find(node->structure);
    if (found == running_.end()) return;
    RunningNode& running = found->second;
    running.update(done, monotonic_seconds());
    running.progress.done = done;
    running.progress.total = total;
    running.progress.unit = unit;
    if (!metrics.empty()) running.progress.metrics = metrics;
  }
  void on_log(const NodeRef& node, const std::string& text) override {
    if (!options_.op_lines) return;
    constexpr int kLongestLine = 4096;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) print(name_of(node) + ": " + fit(line, kLongestLine));
  }
  void on_computed(const NodeRef& node, const NodeResult&, double seconds) override {
    ++computed_;
    ended(node, fmt::format("{}: done in {}", name_of(node), human_seconds(seconds)));
  }
  void on_failed(const NodeRef& node, const NodeFailure& failure) override {
    ++failed_;
    running_.erase(node->structure);
    if (failure.origin == node) print(fmt::format("{}{} failed: {}", name_of(node), place_of(*node), failure.message));
  }
  void on_nondeterminism(const NodeRef& node, const Nondeterminism& found) override {
    print(
        fmt::format("op {} is not deterministic: {} of {} came out different under the same key; the first value stays",
                    found.op, fmt::join(found.fields, ", "), name_of(node)));
  }
  void on_message(const std::string& line) override { print(line); }

 protected:
  virtual void ended(const NodeRef& node, const std::string& sentence) = 0;

  int settled() const { return found_ + computed_ + failed_; }
  // How many nodes are settled, then how; the worst first, since a narrow line has no room for all.
  std::vector<std::string> counts() const {
    std::vector<std::string> parts = {total_ > 0 ? fmt::format("{} of {} nodes", settled(), std::max(total_, settled()))
                                                 : fmt::format("{} nodes", settled())};
    if (failed_ > 0) parts.push_back(fmt::format("{} failed", failed_));
    parts.push_back(fmt::format("{} computed", computed_));
    parts.push_back(fmt::format("{} found", found_));
    return parts;
  }
  std::string counts_sentence() const { return fmt::format("{}", fmt::join(counts(), ", ")); }
  void write(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), options_.out);
    std::fflush(options_.out);
  }

  const ProgressOptions options_;
  std::map<Hash, RunningNode> running_;
  int total_ = 0, found_ = 0, computed_ = 0, failed_ = 0;
};

class TerminalDisplay final : public Display {
 public:
  using Display::Display;
  ~TerminalDisplay() override { finish(); }

  void print(const std::string& line) override {
    write(erased() + line + "\n");
    drawn_ = 0;
    last_draw_ = 0;
  }
  void on_tick() override {
    const double now = monotonic_seconds();
    if (now - last_draw_ < kRedrawSeconds) return;
    last_draw_ = now;
    draw(now);
  }
  void finish() override {
    write(erased());
    drawn_ = 0;
  }

 private:
  void ended(const NodeRef& node, const std::string&) override { running_.erase(node->structure); }

  int width() const {
    if (options_.width > 0) return options_.width;
    winsize size{};
    const bool known = ioctl(fileno(options_.out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : kUsualWidth;
  }
  // To the first line of what was drawn, and all below it gone.
  std::string erased() const { return drawn_ == 0 ? "" : fmt::format("\x1b[{}F\x1b[J", drawn_); }

  void draw(double now) {
    const int columns = width() - 1;  // a full last column would wrap on some terminals
    std::vector<std::string> lines;
    for (auto& [structure, running] : running_) {
      if (static_cast<int>(lines.size()) == kMaxBars) {
        lines.push_back(fit(fmt::format("and {} more", running_.size() - kMaxBars), columns));
        break;
      }
      running.progress.seconds = now - running.started;
      lines.push_back(progress_line(running.progress, columns));
    }
    const double share = total_ > 0 ? static_cast<double>(settled()) / std::max(total_, settled()) : 0;
    lines.push_back(total_ > 0 ? study_line(share, counts(), columns) : fit(counts_sentence(), columns));
    // Lines are overwritten rather than erased first, so nothing flickers.
    std::string text = drawn_ == 0 ? "" : fmt::format("\x1b[{}F", drawn_);
    for (const std::string& line : lines) text += line + "\x1b[K\n";
    write(text + "\x1b[J");
    drawn_ = static_cast<int>(lines.size());
  }

  int drawn_ = 0;
  double last_draw_ = 0;
};

// Nodes that take a moment only are counted, not told of one by one.
class LogDisplay final : public Display {
 public:
  using Display::Display;
  void print(const std::string& line) override { write(line + "\n"); }
  void finish() override {}
  void on_tick() override {
    const double now = monotonic_seconds();
    for (auto& [structure, running] : running_) {
      running.progress.seconds = now - running.started;
      if (!running.announced && running.progress.seconds >= kMomentSeconds) {
        running.announced = true;
        print(fmt::format("{}: started on worker {}", running.progress.name, running.worker));
      } else if (now - running.told >= options_.line_seconds) {
        running.told = now;
        print(progress_sentence(running.progress));
      }
    }
  }

 private:
  void ended(const NodeRef& node, const std::string& sentence) override {
    const auto found = running_.find(node->structure);
    const bool announced = found != running_.end() && found->second.announced;
    if (found != running_.end()) running_.erase(found);
    const double now = monotonic_seconds();
    if (announced) {
      print(fmt::format("{} ({})", sentence, counts_sentence()));
    } else if (now - last_counts_ >= options_.line_seconds) {
      print(counts_sentence());
    } else {
      return;
    }
    last_counts_ = now;
  }

  double last_counts_ = monotonic_seconds();
};

}  // namespace

ProgressOptions progress_options(std::FILE* out) {
  ProgressOptions options;
  options.out = out;
  const char* kind = std::getenv("TERM");
  options.terminal = isatty(fileno(out)) && kind && std::string(kind) != "dumb";
  return options;
}

std::unique_ptr<ProgressDisplay> ProgressDisplay::create(const ProgressOptions& options) {
  if (options.terminal) return std::make_unique<TerminalDisplay>(options);
  return std::make_unique<LogDisplay>(options);
}

}  // namespace colonnade::host
