#pragma once

#include <string>
#include <vector>

#include "kernel/report/plot.h"

namespace colonnade::host {

// What a reader has to be told of a figure, each a sentence of its caption without the full stop.

// Which series lie under another, drawn later at the same places.
std::vector<std::string> covered_notes(const Plot& plot);

// Axes that do not start at zero, and intervals that are longer than the axes.
std::vector<std::string> axis_notes(const Plot& plot);

// Points that all have one x would stand on one vertical line: they are put side by side, by name. Says so if it did.
std::vector<std::string> spread_over_names(Plot& plot);

// Points at one x whose intervals along y would be drawn over one another are set beside it, in the order of series.
std::vector<std::string> set_aside(Plot& plot);

}  // namespace colonnade::host
