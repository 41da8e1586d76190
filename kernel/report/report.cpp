#include "kernel/report/report.h"

#include "kernel/report/figures.h"
#include "kernel/report/letters.h"
#include "kernel/report/markdown.h"
#include "kernel/report/outputs.h"
#include "kernel/report/result_files.h"
#include "kernel/report/tables.h"
#include "kernel/store/files.h"
#include "kernel/store/store.h"

namespace colonnade::host {

namespace {

constexpr int printed_width = 100;  // of the table on the terminal

std::vector<DrawnFigure> figures_for_text(const StudyResults& results, FigureUse use) {
  if (use == FigureUse::none) return {};
  if (use == FigureUse::drawn) return described_figures(results);
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / ("colonnade-" + unique_name());
  auto figures = draw_figures(results, folder);
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return figures;
}

void put_texts(const StudyResults& results, const std::vector<DrawnFigure>& figures,
               std::map<std::string, std::string>& texts) {
  const StudyResults plain = without_measured_cells(results);
  texts["comprehensive_results.json"] = results_json(plain);
  texts["results.csv"] = valid_utf8(results_csv(plain));
  texts["RESEARCH_REPORT.md"] = valid_utf8(research_report(results, figures));
}

}  // namespace

std::map<std::string, std::string> report_texts(const StudyResults& results, FigureUse use) {
  std::map<std::string, std::string> texts;
  for (const ResultFile& file : results.files) {
    if (!file.measured) texts.merge(result_file_texts(file));
  }
  put_texts(results, figures_for_text(results, use), texts);
  return texts;
}

std::string write_report(const StudyResults& results, const std::filesystem::path& folder, bool draw_plots) {
  const auto figures = draw_plots ? draw_figures(results, folder) : std::vector<DrawnFigure>();
  write_result_files(results, folder);
  std::map<std::string, std::string> texts;
  put_texts(results, figures, texts);
  for (const auto& [name, text] : texts) write_file_atomically(folder / name, text);
  const std::string measured = measured_csv(results);
  if (!measured.empty()) write_file_atomically(folder / "measured.csv", valid_utf8(measured));
  const std::string measured_text = measured_report(results, figures);
  if (!measured_text.empty()) write_file_atomically(folder / "MEASURED_REPORT.md", valid_utf8(measured_text));
  const auto metrics = scalar_metrics(results, false);
  std::string printed = as_text(arms_table(without_measured_cells(results), metrics), printed_width);
  if (!metrics.empty()) printed += arms_table_note(results, metrics);
  if (!results.shared.scalars.empty()) printed += "\n" + as_text(shared_table(results, false), printed_width);
  const auto measured_metrics = scalar_metrics(results, true);
  if (!measured_metrics.empty())
    printed +=
        "\nmeasured on this machine\n" + as_text(arms_table(measured_arms(results), measured_metrics), printed_width);
  return printed;
}

}  // namespace colonnade::host
