#include "kernel/report/plot.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "kernel/report/plot_cells.h"
#include "kernel/report/plot_notes.h"
#include "kernel/report/plot_rows.h"

namespace colonnade::host {

namespace {

constexpr std::size_t most_cells = 200;                // of a heatmap along an axis
constexpr double normal_quantile = 1.959963984540054;  // of 0.975
constexpr double widest_linear_span = 100;  // largest over smallest; beyond it an axis is logarithmic unasked

std::string counted(std::size_t count, const std::string& what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

using BySeed = std::map<std::uint64_t, std::vector<double>>;

// The mean of each seed's mean, and its interval: several rows of one seed are not independent.
Summary over_seeds(const BySeed& numbers) {
  std::vector<double> means;
  for (const auto& [seed, own] : numbers) means.push_back(summarise(own).mean);
  return summarise(means);
}

// What rows of one series share: the group's value and the column along y.
struct SeriesKey {
  std::size_t group = 0, column = 0;
  auto operator<=>(const SeriesKey&) const = default;
};

// Rows that become one point.
struct Bucket {
  SeriesKey series;
  std::set<std::string> arms;
  BySeed x, y, z;
  std::size_t rows = 0;
  std::optional<double> x_error, y_error;  // the metrics' own, of the last row

  std::size_t seeds() const { return x.size(); }
};

class PlotBuilder {
 public:
  PlotBuilder(const Json& declaration, const StudyResults& results) : declared_(declaration), results_(results) {
    plot_.type = declaration.at("type");
    plot_.name = declaration.at("name");
    plot_.title = declaration.value("title", "");
    plot_.x_lower_better = declaration.value("x_better", "lower") == "lower";
    plot_.y_lower_better = declaration.value("y_better", "lower") == "lower";
    x_ = declaration.at("x");
    group_ = declaration.value("group", "");
    const Json& y = declaration.at("y");
    ys_ = y.is_array() ? y.get<std::vector<std::string>>() : std::vector<std::string>{y.get<std::string>()};
    z_ = declaration.value("z", "");
  }

  Plot build() {
    std::vector<std::string> columns = ys_;
    columns.push_back(x_);
    if (!group_.empty()) columns.push_back(group_);
    if (!z_.empty()) columns.push_back(z_);
    rows_ = plot_rows(results_, declared_.at("from"), declared_.at("arms").get<std::vector<std::string>>(), columns);
    plot_.measured = rows_.measured;
    plot_.problem = rows_.problem;
    if (!plot_.problem.empty()) return plot_;
    for (std::size_t y = 0; y < ys_.size(); ++y) fill(y);
    label_axes();
    choose_logarithms();
    add_points();
    if (plot_.type == "line") order_lines();
    if (plot_.type == "heatmap" && plot_.problem.empty()) coarsen();
    if (plot_.type == "scatter" && !rows_are_points()) add_notes(spread_over_names(plot_));
    if (plot_.type == "scatter") add_notes(set_aside(plot_));
    if (!is_grid() && plot_.type != "bars") add_notes(covered_notes(plot_));
    write_caption();
    return plot_;
  }

 private:
  bool is_grid() const { return !z_.empty(); }
  bool is_metric(const std::string& column) const {
    const auto& metrics = rows_.metric_columns;
    return std::find(metrics.begin(), metrics.end(), column) != metrics.end();
  }
  // Each row its own point, unless trials differ by their seed alone.
  bool rows_are_points() const {
    const bool of_points = plot_.type == "scatter" || plot_.type == "pareto";
    return of_points &&
           (!declared_.at("from").get<std::string>().empty() || x_ == "seed" || group_ == "seed" || ys_[0] == "seed");
  }

  // Which rows belong together. Trials of one arm do where x is a metric, as it then differs by seed; otherwise rows at
  // the same x.
  std::string bucket_key(const PlotRow& row, std::size_t index) const {
    if (rows_are_points()) return std::to_string(index);
    const bool by_arm = plot_.type == "scatter" || plot_.type == "pareto" || is_metric(x_);
    if (plot_.type == "surface" && (by_arm || is_metric(ys_[0]))) return row.arm;
    std::string key = by_arm ? row.arm : key_of(row.cells.at(x_));
    if (is_grid()) key += "\n" + key_of(row.cells.at(ys_[0]));
    return key;
  }

  std::size_t group_of(const PlotRow& row) {
    std::string name = group_.empty() ? "" : cell_text(row.cells.at(group_));
    if (group_ == "arm" && row.arm.empty()) name = declared_.at("from");
    const auto known = std::find(groups_.begin(), groups_.end(), name);
    if (known != groups_.end()) return static_cast<std::size_t>(known - groups_.begin());
    groups_.push_back(name);
    return groups_.size() - 1;
  }

  void fill(std::size_t column) {
    const std::string& y = ys_[column];
    const bool grid = plot_.type == "heatmap";
    const AxisReader read_x(rows_, x_, grid || plot_.type == "bars"), read_y(rows_, y, grid);
    plot_.x.categories = read_x.categories();
    if (ys_.size() == 1) plot_.y.categories = read_y.categories();
    plot_.y.downwards = grid && read_y.is_text();
    std::optional<AxisReader> read_z;
    if (is_grid()) read_z.emplace(rows_, z_, false);
    std::map<std::pair<SeriesKey, std::string>, std::size_t> known;
    for (std::size_t i = 0; i < rows_.rows.size(); ++i) {
      const PlotRow& row = rows_.rows[i];
      const double at_x = read_x(row), at_y = read_y(row), at_z = read_z ? (*read_z)(row) : 0;
      if (!std::isfinite(at_x) || !std::isfinite(at_y) || !std::isfinite(at_z)) {
        ++left_out_;
        continue;
      }
      const SeriesKey series{is_grid() ? 0 : group_of(row), column};
      const auto [place, is_new] = known.emplace(std::pair(series, bucket_key(row, i)), buckets_.size());
      if (is_new) buckets_.emplace_back();
      Bucket& bucket = buckets_[place->second];
      bucket.series = series;
      bucket.arms.insert(row.arm);
      bucket.x[row.seed].push_back(at_x);
      bucket.y[row.seed].push_back(at_y);
      bucket.z[row.seed].push_back(at_z);
      ++bucket.rows;
      bucket.x_error = error_of(row, x_);
      bucket.y_error = error_of(row, y);
    }
  }

  static std::optional<double> error_of(const PlotRow& row, const std::string& column) {
    const auto found = row.errors.find(column);
    return found == row.errors.end() ? std::nullopt : std::optional(found->second);
  }

  // Over seeds; of a single row the metric's own.
  std::optional<Interval> interval_of(const Summary& summary, const Bucket& bucket, std::optional<double> error) {
    if (bucket.rows > 1 || !error) return summary.interval;
    own_errors_ = true;
    return Interval{summary.mean - normal_quantile * *error, summary.mean + normal_quantile * *error};
  }

  void add_notes(const std::vector<std::string>& notes) { notes_.insert(notes_.end(), notes.begin(), notes.end()); }

  std::string labelled(const std::string& column) const {
    const auto unit = rows_.units.find(column);
    return unit == rows_.units.end() || unit->second == column ? column : column + " (" + unit->second + ")";
  }

  void label_axes() {
    plot_.x.label = declared_.value("x_label", "");
    plot_.y.label = declared_.value("y_label", "");
    plot_.z.label = declared_.value("z_label", "");
    const bool names_arms = plot_.type == "bars" && x_ == "arm";  // which the names say themselves
    if (plot_.x.label.empty() && !names_arms) plot_.x.label = labelled(x_);
    if (plot_.z.label.empty() && is_grid()) plot_.z.label = labelled(z_);
    if (!plot_.y.label.empty()) return;
    if (ys_.size() == 1) {
      plot_.y.label = labelled(ys_[0]);
      return;
    }
    const auto unit_of = [&](const std::string& y) {
      return rows_.units.contains(y) ? rows_.units.at(y) : std::string();
    };
    const std::string unit = unit_of(ys_[0]);
    const bool same = std::all_of(ys_.begin(), ys_.end(), [&](const std::string& y) { return unit_of(y) == unit; });
    plot_.y.label = same && !unit.empty() ? unit : "value";
  }

  bool spans_decades(const BySeed Bucket::*numbers) const {
    double least = std::numeric_limits<double>::infinity(), most = 0;
    for (const Bucket& bucket : buckets_) {
      const double mean = over_seeds(bucket.*numbers).mean;
      least = std::min(least, mean);
      most = std::max(most, mean);
    }
    return least > 0 && most / least > widest_linear_span;
  }

  void choose_logarithms() {
    const std::string declared = declared_.value("log", "");
    const bool positions = plot_.type == "heatmap" || plot_.type == "bars";
    // Steps and time run along a line's x: they are stretched only when asked.
    const bool course = plot_.type == "line";
    const auto asked = [&](char axis) { return declared.find(axis) != std::string::npos; };
    plot_.x.log = plot_.x.categories.empty() && (asked('x') || (!positions && !course && spans_decades(&Bucket::x)));
    plot_.y.log = plot_.y.categories.empty() && (asked('y') || (!positions && spans_decades(&Bucket::y)));
    plot_.z.log = is_grid() && spans_decades(&Bucket::z);
  }

  // A line through each arm's only point would be none: the arms are then joined.
  bool joins_arms() const {
    return plot_.type == "line" && group_ == "arm" && ys_.size() == 1 && buckets_.size() == groups_.size();
  }

  PlotSeries series_for(const SeriesKey& key) const {
    PlotSeries series;
    const bool several_groups = groups_.size() > 1, several_columns = ys_.size() > 1;
    if (several_columns) series.name = ys_[key.column];
    if (several_groups || !several_columns)
      series.name = (groups_.empty() ? "" : groups_[key.group]) + (series.name.empty() ? "" : ": " + series.name);
    series.colour = several_groups ? key.group : key.column;
    series.style = several_groups ? key.column : 0;
    return series;
  }

  void add_points() {
    std::map<SeriesKey, PlotSeries> series;
    const bool joined = joins_arms();
    for (const Bucket& bucket : buckets_) {
      const Summary x = over_seeds(bucket.x), y = over_seeds(bucket.y), z = over_seeds(bucket.z);
      const bool no_logarithm =
          (plot_.x.log && x.mean <= 0) || (plot_.y.log && y.mean <= 0) || (plot_.z.log && z.mean <= 0);
      if (no_logarithm) {
        ++without_logarithm_;
        continue;
      }
      PlotPoint point{x.mean, y.mean, z.mean, {}, {}, rows_are_points() ? "" : *bucket.arms.begin()};
      if (is_metric(x_)) point.x_interval = interval_of(x, bucket, bucket.x_error);
      if (!is_grid()) point.y_interval = interval_of(y, bucket, bucket.y_error);
      most_seeds_ = std::max(most_seeds_, bucket.seeds());
      most_arms_ = std::max(most_arms_, bucket.arms.size());
      const SeriesKey key = joined ? SeriesKey{} : bucket.series;
      const auto [place, is_new] = series.emplace(key, PlotSeries());
      if (is_new && !joined) place->second = series_for(key);
      place->second.points.push_back(std::move(point));
    }
    for (auto& [key, each] : series) plot_.series.push_back(std::move(each));
    if (!plot_.series.empty()) return;
    plot_.problem = without_logarithm_ > 0 ? "no value has a logarithm" : "no value is finite";
  }

  void order_lines() {
    for (PlotSeries& series : plot_.series) {
      std::stable_sort(series.points.begin(), series.points.end(),
                       [](const auto& a, const auto& b) { return a.x < b.x; });
    }
  }

  // Cells that nobody could see apart become one, their mean.
  void coarsen() {
    const auto stride_of = [](const PlotAxis& axis) { return (axis.categories.size() + most_cells - 1) / most_cells; };
    const std::size_t across = stride_of(plot_.x), down = stride_of(plot_.y);
    if (across == 1 && down == 1) return;
    std::map<std::pair<double, double>, std::vector<double>> blocks;
    for (const PlotPoint& point : plot_.series[0].points) {
      blocks[{std::floor(point.x / static_cast<double>(across)), std::floor(point.y / static_cast<double>(down))}]
          .push_back(point.z);
    }
    const auto every = [](const std::vector<std::string>& all, std::size_t stride) {
      std::vector<std::string> kept;
      for (std::size_t i = 0; i < all.size(); i += stride) kept.push_back(all[i]);
      return kept;
    };
    plot_.x.categories = every(plot_.x.categories, across);
    plot_.y.categories = every(plot_.y.categories, down);
    plot_.series[0].points.clear();
    for (const auto& [at, values] : blocks)
      plot_.series[0].points.push_back({at.first, at.second, summarise(values).mean, {}, {}, ""});
    notes_.push_back(fmt::format("Cells are means of blocks of {} by {}", across, down));
  }

  void write_caption() {
    std::vector<std::string> sentences;
    const std::string up_to = fewest_seeds() == most_seeds_ ? "" : "up to ";
    const std::string intervals = is_grid() ? "" : " with 95 % t intervals";
    if (most_arms_ > 1) {
      sentences.push_back(
          fmt::format("Means over up to {} arms{}", most_arms_,
                      most_seeds_ > 1 ? fmt::format(" and {}{} seeds{}", up_to, most_seeds_, intervals) : ""));
    } else if (most_seeds_ > 1) {
      sentences.push_back(fmt::format("Means over {}{} seeds{}", up_to, most_seeds_, intervals));
    }
    if (own_errors_) sentences.push_back("Error bars of single values are 95 % intervals from their standard errors");
    if (plot_.type == "pareto") sentences.push_back("The dashed line is the frontier; open marks are dominated");
    std::vector<std::string> logarithmic;
    for (const auto& [name, axis] : {std::pair("x", &plot_.x), {"y", &plot_.y}, {"z", &plot_.z}}) {
      if (axis->log) logarithmic.emplace_back(name);
    }
    if (!logarithmic.empty()) sentences.push_back(fmt::format("Logarithmic along {}", fmt::join(logarithmic, " and ")));
    if (left_out_ > 0)
      sentences.push_back(fmt::format("Without a finite value and left out: {}", counted(left_out_, "row")));
    if (without_logarithm_ > 0) {
      sentences.push_back(
          fmt::format("At or below zero and left out of a logarithmic axis: {}", counted(without_logarithm_, "point")));
    }
    sentences.insert(sentences.end(), notes_.begin(), notes_.end());
    if (!is_grid() && plot_.problem.empty()) {
      for (const std::string& note : axis_notes(plot_)) sentences.push_back(note);
    }
    for (const std::string& sentence : sentences) plot_.caption += (plot_.caption.empty() ? "" : " ") + sentence + ".";
  }

  std::size_t fewest_seeds() const {
    std::size_t fewest = most_seeds_;
    for (const Bucket& bucket : buckets_) fewest = std::min(fewest, bucket.seeds());
    return fewest;
  }

  const Json& declared_;
  const StudyResults& results_;
  Plot plot_;
  PlotRows rows_;
  std::string x_, z_, group_;
  std::vector<std::string> ys_, groups_, notes_;
  std::vector<Bucket> buckets_;
  std::size_t left_out_ = 0, without_logarithm_ = 0, most_seeds_ = 0, most_arms_ = 0;
  bool own_errors_ = false;
};

}  // namespace

Plot plot_of(const Json& declaration, const StudyResults& results) {
  return PlotBuilder(declaration, results).build();
}

}  // namespace colonnade::host
