#include "kernel/report/figures.h"

#include "kernel/report/gnuplot.h"
#include "kernel/report/plot.h"
#include "kernel/report/plot_script.h"
#include "kernel/store/store.h"

namespace colonnade::host {

namespace {

DrawnFigure described(const Plot& plot) {
  DrawnFigure figure;
  figure.name = plot.name;
  figure.title = plot.title;
  figure.caption = plot.caption;
  figure.measured = plot.measured;
  figure.problem = plot.problem;
  if (!figure.problem.empty()) return figure;
  const std::string base = (plot.measured ? "plots/measured/" : "plots/") + plot.name;
  figure.svg = base + ".svg";
  figure.png = base + ".png";
  return figure;
}

DrawnFigure draw(const Plot& plot, const std::filesystem::path& folder) {
  DrawnFigure figure = described(plot);
  if (!figure.problem.empty()) return figure;
  const std::string script = plot_script(plot);
  const Drawing drawing = draw_with_gnuplot(script);
  figure.problem = drawing.problem;
  if (!figure.problem.empty()) return figure;
  std::filesystem::create_directories((folder / figure.svg).parent_path());
  write_file_atomically(folder / figure.svg, drawing.svg);
  write_file_atomically(folder / figure.png, drawing.png);
  return figure;
}

}  // namespace

std::vector<DrawnFigure> draw_figures(const StudyResults& results, const std::filesystem::path& folder) {
  std::vector<DrawnFigure> figures;
  for (const Json& declaration : results.figures) figures.push_back(draw(plot_of(declaration, results), folder));
  return figures;
}

std::vector<DrawnFigure> described_figures(const StudyResults& results) {
  std::vector<DrawnFigure> figures;
  for (const Json& declaration : results.figures) figures.push_back(described(plot_of(declaration, results)));
  return figures;
}

}  // namespace colonnade::host
