#pragma once

#include <string>

#include "kernel/report/plot.h"
#include "kernel/report/plot_layout.h"

namespace colonnade::host {

// The gnuplot script that draws `plot`, data included, as figure.svg and figure.png. It needs no other file, so it is
// written beside the figure for readers who want another look of it.
std::string plot_script(const Plot& plot);

// Parts of scripts that flat figures and those with a third coordinate share.
namespace script {

std::string quoted(const std::string& text);       // an expression whose value is the text
std::string quoted_tick(const std::string& text);  // where a % would start a format
std::string ticks(const std::string& axis, const AxisScale& scale, const std::string& options);
std::string label(const Layout& layout, double x, double y, const std::string& text, const std::string& options);
std::string frame(const Layout& layout);  // margins, border, title
std::string axes(const Layout& layout, const Plot& plot, const AxisScale& x, const AxisScale& y);
std::string both_pictures(const Layout& layout, const std::string& settings, const std::string& plotting);

}  // namespace script

std::string grid_script(const Plot& plot);  // heatmap and surface

}  // namespace colonnade::host
