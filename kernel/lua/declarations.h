#pragma once

#include <lua.hpp>
#include <string>
#include <vector>

#include "colonnade/schema.h"
#include "kernel/lua/handles.h"
#include "kernel/study/study.h"

namespace colonnade::host {

// Figures and parts of the report, as studies declare them and as StudyDescription carries them to the report.
//
// `figures` is a list of objects. Each has all options of its kind, defaults filled in:
//   type     scatter, line, heatmap, surface, pareto, bars
//   name     the file's name without ending; by default the type and the figure's number, "scatter-1"
//   title    "" none
//   from     "" rows are trials: columns arm, seed, the factors of the arms' points, the scalar metrics
//            else a table metric's name: its columns, and arm, seed, factors repeated on each row
//   arms     list of the arms shown; empty: all
//   log      "", "x", "y" or "xy": logarithmic axes
//   x_label, y_label, z_label (of those axes there are): "" the column's name and unit
//   x, y, z  columns; of line and bars, y is a list. bars: x is "arm" by default
//   group    column that parts points or lines into series; "arm" by default, "" none; bars: "" by default
//   x_better, y_better   of pareto: "lower" (default) or "higher"
//
// `report` is {"comparisons": [...], "effects": [...], "targets": [...], "sections": [...], "sharing": [...]}, each list in declared
// order:
//   comparison  metric (list), baseline (an arm), log (compare logarithms)
//   effects     metric (list), factors (list of names in the points; each true or false), log
//   target      name, metric, value, better ("higher" or "lower"), as ("value", "reduction" = 1 - arm / baseline,
//   "ratio" =
//               arm / baseline), baseline (an arm, needed for the last two), arm ("" every arm), cap (number or null:
//               the best that can be reached here), note (why)
//   section     title, text, table (list of metrics shown by arm)
//   sharing     title, arms (whose evaluations are counted one by one and shared), beyond (an arm whose nodes do not
//               count, "" none)

// Sets the constructors (scatter, ..., compare, effects, target, section) in the table on the top of the stack.
void add_declarations(lua_State* L);

// The figures and the report as documents, names checked against the arms and, where no arm is adaptive, all metrics.
// Error(usage) names the line of the declaration.
Json figure_documents(const std::vector<const Declaration*>& figures, const StudyDescription& study);
Json report_document(const std::vector<const Declaration*>& parts, const StudyDescription& study);

}  // namespace colonnade::host
