#pragma once

#include <filesystem>
#include <string>

#include "kernel/report/report.h"

namespace colonnade::host {

// A small study: base and two methods with their combination, three seeds, metrics of each kind, tables, a failed
// trial, a value that is not finite, measured numbers, and one declaration of each kind.
StudyResults small_results();

// Names that have a meaning to gnuplot, Markdown, CSV, JSON or a shell.
StudyResults hostile_results();

Json figure(const std::string& type, const Json& options);

// A folder that is removed at the end of a test.
class ReportFolder {
 public:
  ReportFolder();
  ~ReportFolder();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string file_text(const std::filesystem::path& file);

// Compares with tests/kernel/report/approved/`name`; COLONNADE_APPROVE=1 writes it.
void check_approved(const std::string& name, const std::string& text);

}  // namespace colonnade::host
