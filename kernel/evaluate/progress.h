#pragma once

#include <cstdio>
#include <memory>

#include "kernel/evaluate/evaluator.h"

namespace colonnade::host {

struct ProgressOptions {
  std::FILE* out = stderr;
  bool terminal = false;     // redraw in place; else a line now and then
  int width = 0;             // columns; 0 asks the terminal at every redraw
  double line_seconds = 30;  // in a log: how often a running node is told of
  bool op_lines = false;     // print what ops log, as they run
};
ProgressOptions progress_options(std::FILE* out);  // a terminal unless `out` is none, or TERM says "dumb"

// Draws how far an evaluation is. On a terminal: one bar for each running node, with rate, remaining time and its
// latest metrics, and one for the study, redrawn in place by one write each; the cursor stays visible and ends below,
// so that no exit, however sudden, leaves the terminal changed. In a log: a line when a node starts and ends, and now
// and then between.
class ProgressDisplay : public EvaluationObserver {
 public:
  static std::unique_ptr<ProgressDisplay> create(const ProgressOptions& options);
  // How many nodes the evaluation has in all, as far as that is known; may grow.
  virtual void set_total(int nodes) = 0;
  // A line above the bars that stays.
  virtual void print(const std::string& line) = 0;
  // Takes the bars away. Later calls draw again.
  virtual void finish() = 0;
};

}  // namespace colonnade::host
