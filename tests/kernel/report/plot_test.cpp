#include "kernel/report/plot.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <regex>
#include <set>
#include <sstream>

#include "kernel/report/letters.h"
#include "kernel/report/plot_axes.h"
#include "kernel/report/plot_layout.h"
#include "kernel/report/plot_script.h"
#include "tests/kernel/report/fixture.h"

namespace colonnade::host {

TEST_CASE("A point of a scatter is an arm's mean with intervals over seeds", "[report]") {
  const Plot plot = plot_of(figure("scatter", {{"x", "size.stored"}, {"y", "nats"}}), small_results());
  CHECK(plot.problem.empty());
  CHECK_FALSE(plot.measured);
  REQUIRE(plot.series.size() == 4);
  CHECK(plot.series[1].name == "+first");
  REQUIRE(plot.series[1].points.size() == 1);
  CHECK(plot.series[1].points[0].x == 625000);
  CHECK(plot.series[1].points[0].y_interval.has_value());
  CHECK(plot.x.label == "size.stored (bytes)");
  CHECK(plot.caption.find("Means over 3 seeds") == 0);
}

TEST_CASE("Under one seed error bars come from standard errors", "[report]") {
  StudyResults results = small_results();
  std::erase_if(results.trials, [](const TrialResult& trial) { return trial.seed != 0; });
  const Plot plot = plot_of(figure("scatter", {{"x", "size.stored"}, {"y", "nats"}}), results);
  const auto& interval = plot.series[0].points[0].y_interval;
  REQUIRE(interval.has_value());
  CHECK(interval->high - interval->low == Approx(2 * 1.959964 * 0.02).epsilon(1e-5));
  CHECK(plot.caption.find("from their standard errors") != std::string::npos);
}

TEST_CASE("Points at one x stand side by side", "[report]") {
  StudyResults results = small_results();
  for (TrialResult& trial : results.trials) trial.scalars["size.stored"].value = 81856;
  const Plot plot = plot_of(figure("scatter", {{"x", "size.stored"}, {"y", "nats"}}), results);
  CHECK(plot.x.categories == std::vector<std::string>{"base", "+first", "+second", "both"});
  CHECK(plot.series[3].points[0].x == 3);
  CHECK_FALSE(plot.series[3].points[0].x_interval.has_value());
  CHECK(plot.caption.find("size.stored (bytes) is 81,856 for all") != std::string::npos);
}

TEST_CASE("A caption says which axes leave zero out and that intervals are cut", "[report]") {
  StudyResults results = small_results();
  const Json declared = figure("scatter", {{"x", "size.stored"}, {"y", "nats"}});
  const Plot plain = plot_of(declared, results);
  CHECK(plain.caption.find("axis") != std::string::npos);
  CHECK(plain.caption.find("go on beyond") == std::string::npos);
  results.trials[0].scalars["nats"].value = 40;
  results.trials[1].scalars["nats"].value = -40;
  CHECK(plot_of(declared, results).caption.find("go on beyond") != std::string::npos);
  const Json bars = figure("bars", {{"x", "arm"}, {"y", {"nats"}}, {"group", ""}});
  CHECK(plot_of(bars, small_results()).caption.find("start at 0") == std::string::npos);
}

TEST_CASE("Rows of tables are averaged over seeds at the same place", "[report]") {
  const Plot plot = plot_of(figure("line", {{"from", "curve"}, {"x", "step"}, {"y", {"loss"}}}), small_results());
  REQUIRE(plot.series.size() == 4);
  REQUIRE(plot.series[0].points.size() == 5);
  CHECK(plot.series[0].points[0].y == Approx(4.0625));
  CHECK(plot.series[0].points[0].y_interval.has_value());
  CHECK_FALSE(plot.x.log);
}

TEST_CASE("A line through single arms joins them", "[report]") {
  const Plot plot = plot_of(figure("line", {{"x", "rank"}, {"y", {"nats"}}}), small_results());
  REQUIRE(plot.series.size() == 1);
  CHECK(plot.series[0].points.size() == 4);
  CHECK(plot.series[0].points.front().x == 4);
}

TEST_CASE("Several columns become series of their own style", "[report]") {
  const Plot plot =
      plot_of(figure("bars", {{"x", "arm"}, {"y", {"size.nominal", "size.stored"}}, {"group", ""}}), small_results());
  REQUIRE(plot.series.size() == 2);
  CHECK(plot.series[0].name == "size.nominal");
  CHECK(plot.series[0].colour != plot.series[1].colour);
  CHECK(plot.y.label == "bytes");
  CHECK(plot.x.categories == std::vector<std::string>{"base", "+first", "+second", "both", "broken"});  // no bar
}

TEST_CASE("Axes are logarithmic where declared or where data span more than two decades", "[report]") {
  StudyResults results = small_results();
  CHECK(plot_of(figure("scatter", {{"x", "nats"}, {"y", "nats"}, {"log", "x"}}), results).x.log);
  for (TrialResult& trial : results.trials)
    trial.scalars["wide"].value = std::pow(10.0, trial.point.at("rank").get<double>() / 8);
  CHECK(plot_of(figure("scatter", {{"x", "wide"}, {"y", "nats"}}), results).x.log);
  CHECK_FALSE(plot_of(figure("bars", {{"x", "arm"}, {"y", {"wide"}}, {"group", ""}}), results).y.log);
  for (TrialResult& trial : results.trials) trial.scalars["wide"].value = -1;
  const Plot none = plot_of(figure("scatter", {{"x", "wide"}, {"y", "nats"}, {"log", "x"}}), results);
  CHECK(none.problem == "no value has a logarithm");
}

TEST_CASE("A series that another covers is named", "[report]") {
  StudyResults results = small_results();
  for (TrialResult& trial : results.trials) {
    if (trial.arm == "+first") trial.tables["curve"] = results.trials[trial.seed].tables["curve"];
  }
  const Plot plot = plot_of(figure("line", {{"from", "curve"}, {"x", "step"}, {"y", {"loss"}}}), results);
  CHECK(plot.caption.find("+first covers base.") != std::string::npos);
  CHECK(plot.caption.find("both") == std::string::npos);
}

TEST_CASE("What is not finite is left out and counted", "[report]") {
  StudyResults results = small_results();
  const Plot plot = plot_of(figure("scatter", {{"x", "drift"}, {"y", "nats"}}), results);
  CHECK(plot.series.size() == 4);
  CHECK(plot.caption.find("left out: 4 rows") != std::string::npos);  // one NaN and the three trials that failed
  for (TrialResult& trial : results.trials) trial.scalars["drift"].value = INFINITY;
  CHECK(plot_of(figure("scatter", {{"x", "drift"}, {"y", "nats"}}), results).problem == "no value is finite");
}

TEST_CASE("A figure that cannot be drawn says what there is", "[report]") {
  const Plot column = plot_of(figure("scatter", {{"x", "size.stord"}, {"y", "nats"}}), small_results());
  CHECK(column.problem.find("'size.stord'; did you mean 'size.stored'?") != std::string::npos);
  const Plot table = plot_of(figure("line", {{"from", "curves"}, {"x", "step"}, {"y", {"loss"}}}), small_results());
  CHECK(table.problem == "no trial has rows of the table 'curves'");
  CHECK(plot_of(figure("scatter", {{"x", "a"}, {"y", "b"}}), StudyResults()).problem == "there are no trials");
}

TEST_CASE("Measured columns make a measured figure", "[report]") {
  CHECK(plot_of(figure("bars", {{"x", "arm"}, {"y", {"latency"}}, {"group", ""}}), small_results()).measured);
}

TEST_CASE("Maps with more cells than can be seen are averaged in blocks", "[report]") {
  StudyResults results;
  TrialResult trial;
  Table table;
  table.add_column("row", "integer");
  table.add_column("column", "integer");
  table.add_column("value", "real");
  for (int row = 0; row < 300; ++row) table.add_row({row, row % 3, static_cast<double>(row)});
  trial.arm = "only";
  trial.tables["map"] = table;
  results.trials.push_back(trial);
  results.arm_order = {"only"};
  const Plot plot =
      plot_of(figure("heatmap", {{"from", "map"}, {"x", "column"}, {"y", "row"}, {"z", "value"}}), results);
  CHECK(plot.y.categories.size() == 150);
  CHECK(plot.x.categories.size() == 3);
  CHECK(plot.caption.find("blocks of 1 by 2") != std::string::npos);
}

TEST_CASE("Names with numbers in them come in the numbers' order, others as they come", "[report]") {
  StudyResults results;
  for (const std::string arm : {"z10", "a2"}) {
    TrialResult trial;
    Table table;
    table.add_column("site", "text");
    table.add_column("part", "text");
    table.add_column("value", "real");
    for (const char* site : {"lm_head", "layers.10.in", "layers.2.out", "layers.2.in", "layers.10"}) {
      for (const char* part : {"weight", "bias"}) table.add_row({site, part, 1.0});
    }
    trial.arm = arm;
    trial.tables["map"] = table;
    results.trials.push_back(trial);
    results.arm_order.push_back(arm);
  }
  const auto rows = [&](const std::string& x) {
    return plot_of(figure("heatmap", {{"from", "map"}, {"x", x}, {"y", "site"}, {"z", "value"}}), results);
  };
  CHECK(rows("part").y.categories ==
        std::vector<std::string>{"layers.2.in", "layers.2.out", "layers.10", "layers.10.in", "lm_head"});
  CHECK(rows("part").x.categories == std::vector<std::string>{"weight", "bias"});
  CHECK(rows("arm").x.categories == std::vector<std::string>{"z10", "a2"});  // arms have an order of their own
}

TEST_CASE("Forty-eight series differ in colour or mark", "[report]") {
  StudyResults results;
  constexpr int series = 48;
  for (int i = 0; i < series; ++i) {
    TrialResult trial;
    trial.arm = "arm " + std::to_string(i);
    trial.scalars["a"].value = i;
    trial.scalars["b"].value = i * i;
    results.trials.push_back(trial);
    results.arm_order.push_back(trial.arm);
  }
  const std::string script = plot_script(plot_of(figure("scatter", {{"x", "a"}, {"y", "b"}}), results));
  const std::regex look(
      "linecolor rgb '(#[0-9A-F]+)'.*pointtype ([0-9]+)|pointtype ([0-9]+).*linecolor rgb '(#[0-9A-F]+)'");
  std::set<std::string> looks;
  std::istringstream lines(script);
  for (std::string line; std::getline(lines, line);) {
    std::smatch found;
    if (std::regex_search(line, found, look)) looks.insert(found.str(1) + found.str(2) + found.str(3) + found.str(4));
  }
  CHECK(looks.size() == series);
}

TEST_CASE("Axes hold their data, and ticks lie inside", "[report]") {
  const std::vector<std::vector<double>> cases = {{1, 2, 3},        {0},         {5}, {1e-9, 1e9}, {-3, 4},
                                                  {1e15, 1e15 + 1}, {0.9, 0.995}};
  for (const auto& values : cases) {
    for (const bool log : {false, true}) {
      if (log && *std::min_element(values.begin(), values.end()) <= 0) continue;
      PlotAxis axis;
      axis.log = log;
      AxisData data;
      data.values = values;
      const AxisScale scale = scale_of(axis, data);
      INFO(values.front() << " to " << values.back() << (log ? ", logarithmic" : ""));
      CHECK(scale.low < scale.high);
      for (const double value : values) CHECK((value >= scale.low && value <= scale.high));
      CHECK(scale.ticks.size() <= 14);
      for (const Tick& tick : scale.ticks) {
        CHECK(scale.fraction(tick.at) >= -1e-6);
        CHECK(scale.fraction(tick.at) <= 1 + 1e-6);
      }
    }
  }
}

TEST_CASE("Whole numbers get whole ticks", "[report]") {
  AxisData data;
  data.values = {0, 1, 2, 3};
  const auto labels = [&] {
    std::vector<std::string> found;
    for (const Tick& tick : scale_of(PlotAxis(), data).ticks) found.push_back(tick.label);
    return found;
  };
  CHECK(labels() == std::vector<std::string>{"0", "1", "2", "3"});
  data.values = {0, 1, 2, 2.5};
  CHECK(labels().size() > 4);
}

TEST_CASE("One wide interval does not flatten the data", "[report]") {
  AxisData data;
  data.values = {1, 2, 3};
  data.intervals = {{-1000, 1000}};
  const AxisScale scale = scale_of(PlotAxis(), data);
  CHECK(scale.high - scale.low < 10);
  CHECK(scale.clamped(1000) == scale.high);
}

TEST_CASE("Intervals that are wide throughout are drawn whole", "[report]") {
  AxisData data;
  data.values = {1, 2, 3};
  data.intervals = {{-9, 11}, {-8, 12}, {-7, 13}};
  const AxisScale scale = scale_of(PlotAxis(), data);
  CHECK(scale.low <= -9);
  CHECK(scale.high >= 13);
}

TEST_CASE("Labels cover neither points nor each other, or there are none", "[report]") {
  const Box area = {0, 0, 600, 400};
  const std::vector<LabelledPoint> points = {{100, 100, "one"}, {108, 104, "two"}, {590, 200, "at the edge"}};
  const auto placed = place_labels(points, {}, area);
  REQUIRE(placed.has_value());
  REQUIRE(placed->size() == 3);
  CHECK(placed->at(2).side == Side::left);
  CHECK_FALSE(place_labels(points, {area}, area).has_value());
}

TEST_CASE("Text is made one line of letters that can be drawn", "[report]") {
  CHECK(one_line("a\nb\tc") == "a b c");
  CHECK(one_line("\xff\xfe!") == "\uFFFD\uFFFD!");
  CHECK(one_line("\xed\xa0\x80") == "\uFFFD");  // a surrogate
  CHECK(one_line("abcdefghij", 7) == "abc…hij");
  CHECK(one_line("가나다", 3) == "가나다");
  CHECK(wrapped("one two three", text_width("one two") + 1) == std::vector<std::string>{"one two", "three"});
  CHECK(with_drawable_letters("plain, ×10⁻³ µ λ") == "plain, ×10⁻³ µ λ");
}

}  // namespace colonnade::host
