#pragma once

#include <string>
#include <vector>

#include "kernel/report/figures.h"
#include "kernel/report/report.h"

namespace colonnade::host {

// RESEARCH_REPORT.md and, "" if nothing was measured, MEASURED_REPORT.md.
std::string research_report(const StudyResults& results, const std::vector<DrawnFigure>& figures);
std::string measured_report(const StudyResults& results, const std::vector<DrawnFigure>& figures);

}  // namespace colonnade::host
