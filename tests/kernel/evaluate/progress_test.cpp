#include "kernel/evaluate/progress.h"

#include <catch2/catch.hpp>

#include <cstdlib>

#include "kernel/evaluate/progress_text.h"
#include "kernel/evaluate/system.h"

using namespace colonnade;
using namespace colonnade::host;

namespace {

// What a display writes, as text.
class Paper {
 public:
  Paper() : file_(open_memstream(&text_, &size_)) {}
  ~Paper() {
    std::fclose(file_);
    std::free(text_);
  }
  std::FILE* file() { return file_; }
  std::string text() {
    std::fflush(file_);
    return {text_, size_};
  }

 private:
  char* text_ = nullptr;
  std::size_t size_ = 0;
  std::FILE* file_;
};

NodeRef some_node(const std::string& label) {
  static const OpSchema schema = [] {
    OpSchema result;
    result.plugin = "good";
    result.name = "train";
    return result;
  }();
  static NodeFactory factory;
  return factory.make(schema, {{"label", label}}, {}, {}, {}, "", label, {});
}

NodeProgress half_done() {
  NodeProgress progress;
  progress.name = "train base";
  progress.done = 300;
  progress.total = 600;
  progress.rate = 10;
  progress.unit = "steps";
  progress.metrics = {{"loss", 2.34567}};
  return progress;
}

}  // namespace

TEST_CASE("A node's line has its bar, rate, remaining time and metrics, as far as there is room", "[progress]") {
  CHECK(progress_line(half_done(), 120) ==
        "train base               [##########.........]  50%  30 s left  10 steps/s  loss 2.346");
  CHECK(progress_line(half_done(), 79) == "train base        [######......]  50%  30 s left  10 steps/s  loss 2.346");
  CHECK(progress_line(half_done(), 60) == "train base    [####....]  50%  30 s left  10 steps/s");
  CHECK(progress_line(half_done(), 39) == "train ba [###...]  50%  30 s left");
  CHECK(progress_line(half_done(), 10) == "train ba [");
}

TEST_CASE("The study's line stands under its nodes' and says what there is room for", "[progress]") {
  const std::vector<std::string> parts = {"12 of 59 nodes", "11 computed", "1 found"};
  CHECK(study_line(0.2, parts, 79) == "study             [##..........]  20%  12 of 59 nodes  11 computed  1 found");
  CHECK(study_line(0.2, parts, 39) == "study    [#.....]  20%  12 of 59 nodes");
  for (int width = 1; width < 200; ++width) {
    CHECK(study_line(1, parts, width).size() <= static_cast<std::size_t>(width));
    CHECK(progress_line(half_done(), width).size() <= static_cast<std::size_t>(width));
  }
}

TEST_CASE("A slow node's rate is told the other way round; an unknown one not at all", "[progress]") {
  NodeProgress slow = half_done();
  slow.rate = 0.5;
  CHECK_THAT(progress_line(slow, 120), Catch::Contains("2 s/step") && !Catch::Contains("steps"));
  slow.unit = "batches";
  CHECK_THAT(progress_line(slow, 120), Catch::Contains("2 s/batch") && !Catch::Contains("batche"));
  slow.unit = "steps";
  slow.rate = 12345.6;
  CHECK_THAT(progress_line(slow, 120), Catch::Contains("12346 steps/s"));
  slow.rate = 0;
  CHECK_THAT(progress_line(slow, 120), Catch::EndsWith(" 50%  loss 2.346"));
}

TEST_CASE("Lines are cut by characters, and control characters cannot act", "[progress]") {
  CHECK(fit("héllo", 2) == "hé");
  CHECK(fit("a\x1b[2Jb", 10) == "a [2Jb");
}

TEST_CASE("A terminal's block is redrawn in place and taken away in the end", "[progress]") {
  Paper paper;
  ProgressOptions options;
  options.out = paper.file();
  options.terminal = true;
  options.width = 100;
  {
    const auto display = ProgressDisplay::create(options);
    display->set_total(2);
    display->on_started(some_node("base"), {}, 1);
    display->on_progress(some_node("base"), 1, 4, "steps", {{"loss", 1.5}});
    display->on_tick();
    const std::string first = paper.text();
    CHECK_THAT(first, Catch::Contains("base                  [####...........]  25%  loss 1.5\x1b[K\n"));
    CHECK_THAT(first, Catch::Contains("study"));
    display->on_tick();  // too early to draw again
    CHECK(paper.text() == first);
    display->print("a line that stays");
    CHECK_THAT(paper.text(), Catch::EndsWith("\x1b[2F\x1b[Ja line that stays\n"));
  }
  CHECK(paper.text().find("\x1b[?25l") == std::string::npos);  // the cursor is never hidden, so no exit can lose it
}

TEST_CASE("A log gets no escapes and no line for what takes a moment", "[progress]") {
  Paper paper;
  ProgressOptions options;
  options.out = paper.file();
  const auto display = ProgressDisplay::create(options);
  display->on_started(some_node("quick"), {}, 1);
  display->on_tick();
  display->on_computed(some_node("quick"), {}, 0.01);
  CHECK(paper.text().empty());
  NodeFailure failure;
  failure.message = "op good/train: no";
  failure.origin = some_node("bad");
  display->on_failed(some_node("bad"), failure);
  display->on_failed(some_node("user"), failure);  // inherited: told once
  CHECK(paper.text() == "bad failed: op good/train: no\n");
}

TEST_CASE("What ops log is printed where that was asked for, line by line and harmless", "[progress]") {
  for (const bool asked : {false, true}) {
    Paper paper;
    ProgressOptions options;
    options.out = paper.file();
    options.op_lines = asked;
    const auto display = ProgressDisplay::create(options);
    display->on_started(some_node("story"), {}, 1);
    display->on_log(some_node("story"), "Once\n\nupon \x1b[2Ja time");
    CHECK(paper.text() == (asked ? "story: Once\nstory: \nstory: upon  [2Ja time\n" : ""));
  }
}

TEST_CASE("Sizes and durations read well", "[progress]") {
  CHECK(human_bytes(12) == "12 bytes");
  CHECK(human_bytes(1.5 * 1024 * 1024 * 1024) == "1.5 GiB");
  CHECK(human_seconds(0.85) == "850 ms");
  CHECK(human_seconds(12) == "12 s");
  CHECK(human_seconds(200) == "3 min 20 s");
  CHECK(human_seconds(7500) == "2 h 5 min");
}
