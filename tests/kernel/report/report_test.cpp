// Texts are held against tests/kernel/report/approved; COLONNADE_APPROVE=1 writes them, and the difference is then
// reviewed.

#include "kernel/report/report.h"

#include <catch2/catch.hpp>
#include <cstdlib>

#include "kernel/report/figures.h"
#include "kernel/report/gnuplot.h"
#include "tests/kernel/report/fixture.h"

namespace colonnade::host {

namespace {

namespace fs = std::filesystem;

bool gnuplot_missing() {
  static const bool missing = !draw_with_gnuplot(
                                   "set terminal svg\nset output 'figure.svg'\nplot 0\nset terminal pngcairo\nset "
                                   "output 'figure.png'\nplot 0\nunset output\n")
                                   .problem.empty();
  if (missing) WARN("skipped: gnuplot is not installed, so figures are not tested");
  return missing;
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(fs::relative(entry.path(), folder));
  }
  std::sort(files.begin(), files.end());
  return files;
}

// A PATH without programs, for as long as it lives.
class EmptyPath {
 public:
  EmptyPath() : before_(std::getenv("PATH")) { ::setenv("PATH", "/nonexistent", 1); }
  ~EmptyPath() { ::setenv("PATH", before_.c_str(), 1); }

 private:
  std::string before_;
};

}  // namespace

TEST_CASE("The files of a small study are as approved", "[report]") {
  const ReportFolder folder;
  check_approved("printed.txt", write_report(small_results(), folder.path(), false));
  for (const char* name :
       {"RESEARCH_REPORT.md", "MEASURED_REPORT.md", "results.csv", "measured.csv", "comprehensive_results.json"}) {
    check_approved(name, file_text(folder.path() / name));
  }
}

TEST_CASE("A hostile study's files are as approved, and its JSON reads back", "[report]") {
  const ReportFolder folder;
  write_report(hostile_results(), folder.path(), false);
  for (const char* name : {"RESEARCH_REPORT.md", "results.csv"})
    check_approved(std::string("hostile_") + name, file_text(folder.path() / name));
  const Json document = Json::parse(file_text(folder.path() / "comprehensive_results.json"));
  CHECK(document.at("arms").at(1) == hostile_results().arm_order[1]);
}

TEST_CASE("Numbers in JSON are those of the trials, not finite ones as text", "[report]") {
  const ReportFolder folder;
  write_report(small_results(), folder.path(), false);
  const Json document = Json::parse(file_text(folder.path() / "comprehensive_results.json"));
  REQUIRE(document.at("trials").size() == 15);
  const Json& trial = document.at("trials").at(10);  // both, seed 1
  CHECK(trial.at("arm") == "both");
  CHECK(trial.at("scalars").at("drift").at("value") == "NaN");
  CHECK(trial.at("scalars").at("nats").at("n") == 500);
  CHECK(trial.at("scalars").at("nats").at("unit") == "nats");
  CHECK_FALSE(trial.at("scalars").contains("latency"));
  CHECK(document.at("trials").at(12).at("failure") == "mask: target_sparsity = 1.5 is above 1");
  CHECK(document.at("analysis").at("comparisons").at(0).at("arms").at(0).at("pairs") == 3);
}

TEST_CASE("What a machine measured changes only the measured files", "[report]") {
  const ReportFolder one, two;
  StudyResults results = small_results();
  // One arm follows from a timing, the others do not.
  for (TrialResult& trial : results.trials) {
    if (trial.arm != results.arm_order[1]) continue;
    trial.measured["nats"] = trial.scalars.at("nats");
    trial.scalars.erase("nats");
  }
  const bool draw = !gnuplot_missing();
  write_report(results, one.path(), draw);
  for (TrialResult& trial : results.trials) {
    for (auto& [name, scalar] : trial.measured) scalar.value *= 1.7;
  }
  write_report(results, two.path(), draw);
  const auto files = files_in(one.path());
  REQUIRE(files == files_in(two.path()));
  for (const fs::path& file : files) {
    const bool measured =
        file == "measured.csv" || file == "MEASURED_REPORT.md" || file.string().starts_with("plots/measured/");
    INFO(file);
    CHECK((file_text(one.path() / file) == file_text(two.path() / file)) != measured);
  }
}

TEST_CASE("A study without trials or declarations has a report", "[report]") {
  const ReportFolder folder;
  StudyResults results;
  results.study = "empty";
  CHECK_NOTHROW(write_report(results, folder.path(), true));
  CHECK(file_text(folder.path() / "RESEARCH_REPORT.md").starts_with("# empty\n"));
  CHECK_FALSE(fs::exists(folder.path() / "MEASURED_REPORT.md"));
}

TEST_CASE("What is shared by all arms and failed is among what failed", "[report]") {
  const ReportFolder folder;
  StudyResults results;
  results.study = "shared";
  results.shared.failure = "op images/folder: no picture could be used";
  write_report(results, folder.path(), true);
  const std::string report = file_text(folder.path() / "RESEARCH_REPORT.md");
  CHECK_THAT(report, Catch::Contains("no picture could be used") && !Catch::Contains("Nothing failed"));
}

TEST_CASE("Figures are drawn alike twice, without dates, paths or the program's name", "[report][needs]") {
  if (gnuplot_missing()) return;
  for (const StudyResults& results : {small_results(), hostile_results()}) {
    const ReportFolder one, two;
    const auto first = draw_figures(results, one.path()), second = draw_figures(results, two.path());
    REQUIRE(first.size() == results.figures.size());
    for (const DrawnFigure& figure : first) {
      INFO(figure.name << ": " << figure.problem);
      REQUIRE(figure.problem.empty());
      const std::string svg = file_text(one.path() / figure.svg), png = file_text(one.path() / figure.png);
      CHECK(svg == file_text(two.path() / figure.svg));
      CHECK(png == file_text(two.path() / figure.png));
      CHECK(svg.find("</svg>") != std::string::npos);
      for (const std::string& private_text : {std::string("GNUPLOT"), std::string("Gnuplot"), one.path().string()}) {
        CHECK(svg.find(private_text) == std::string::npos);
        CHECK(png.find(private_text) == std::string::npos);
      }
      CHECK(png.starts_with("\x89PNG"));
      for (const char* chunk : {"tEXt", "tIME", "zTXt", "iTXt"}) CHECK(png.find(chunk) == std::string::npos);
    }
  }
}

TEST_CASE("Names reach figures as they are", "[report][needs]") {
  if (gnuplot_missing()) return;
  const ReportFolder folder;
  draw_figures(hostile_results(), folder.path());
  const std::string svg = file_text(folder.path() / "plots/scatter.svg");
  CHECK(svg.find("it's `date` {a}_b % ] (") != std::string::npos);
  CHECK(svg.find("it's `date` $(date) \\") != std::string::npos);
  CHECK(svg.find("a_b^{c} \"q\", | &lt;i>") != std::string::npos);
  CHECK(svg.find("100% %d @x #1 ~ $data1 &lt;&lt; END") != std::string::npos);
  const std::string bars = file_text(folder.path() / "plots/bars.svg");
  CHECK(bars.find("100% %d @x #1 ~ $data1 &lt;&lt; END") != std::string::npos);
}

TEST_CASE("Without gnuplot the report says that nothing was drawn, and is written all the same", "[report]") {
  const ReportFolder folder;
  {
    const EmptyPath empty;
    write_report(small_results(), folder.path(), true);
  }
  const std::string report = file_text(folder.path() / "RESEARCH_REPORT.md");
  CHECK(report.find("not drawn, gnuplot is not installed") != std::string::npos);
  CHECK_FALSE(fs::exists(folder.path() / "plots"));
}

TEST_CASE("A script that gnuplot refuses is answered with what it said", "[report][needs]") {
  if (gnuplot_missing()) return;
  const Drawing drawing = draw_with_gnuplot("plot nonsense(x\n");
  CHECK(drawing.problem.starts_with("gnuplot failed"));
  CHECK(drawing.svg.empty());
}

}  // namespace colonnade::host
