#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernel/report/plot_rows.h"

namespace colonnade::host {

// Cells of a table as a figure reads them.

std::string key_of(const Json& cell);     // equal for equal cells; bytes that are no UTF-8 are replaced
std::string cell_text(const Json& cell);  // for people

// Numbers of one axis. A column that has anything but numbers is one of categories: in the order in which they come,
// but names with numbers in them (of layers) in the numbers'.
class AxisReader {
 public:
  AxisReader(const PlotRows& rows, const std::string& column, bool as_categories);

  double operator()(const PlotRow& row) const;  // not a number where there is no value
  const std::vector<std::string>& categories() const { return categories_; }
  bool is_text() const { return texts_; }

 private:
  std::string column_;
  bool numeric_ = true, texts_ = false;
  std::map<std::string, double> positions_;
  std::vector<std::string> categories_;
};

}  // namespace colonnade::host
