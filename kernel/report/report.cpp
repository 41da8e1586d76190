#include "kernel/report/report.h"

#include "kernel/report/figures.h"
#include "kernel/report/letters.h"
#include "kernel/report/markdown.h"
#include "kernel/report/outputs.h"
#include "kernel/report/result_files.h"
#include "kernel/report/tables.h"
#include "kernel/store/store.h"

namespace colonnade::host {

namespace {

constexpr int printed_width = 100;  // of the table on the terminal

}  // namespace

std::string write_report(const StudyResults& results, const std::filesystem::path& folder, bool draw_plots) {
  const auto figures = draw_plots ? draw_figures(results, folder) : std::vector<DrawnFigure>();
  write_result_files(results, folder);
  write_file_atomically(folder / "comprehensive_results.json", results_json(results));
  write_file_atomically(folder / "results.csv", valid_utf8(results_csv(results)));
  write_file_atomically(folder / "RESEARCH_REPORT.md", valid_utf8(research_report(results, figures)));
  const std::string measured = measured_csv(results);
  if (!measured.empty()) write_file_atomically(folder / "measured.csv", valid_utf8(measured));
  const std::string measured_text = measured_report(results, figures);
  if (!measured_text.empty()) write_file_atomically(folder / "MEASURED_REPORT.md", valid_utf8(measured_text));
  const auto metrics = scalar_metrics(results, false);
  std::string printed = as_text(arms_table(results, metrics), printed_width);
  if (!metrics.empty()) printed += arms_table_note(results, metrics);
  if (!results.shared.scalars.empty()) printed += "\n" + as_text(shared_table(results, false), printed_width);
  const auto measured_metrics = scalar_metrics(results, true);
  if (!measured_metrics.empty())
    printed += "\nmeasured on this machine\n" + as_text(arms_table(results, measured_metrics), printed_width);
  return printed;
}

}  // namespace colonnade::host
