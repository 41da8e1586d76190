#pragma once

#include <string>

#include "kernel/report/report.h"

namespace colonnade::host {

// The parts of the report that are computed from declared comparisons, effects and targets, as Markdown.

// One sentence for each declared comparison and effect, and what every arm's best is.
std::string key_findings(const StudyResults& results);
std::string comparison_section(const StudyResults& results);
std::string effect_section(const StudyResults& results);
// `measured` chooses the targets on measured metrics, which stand in the measured report.
std::string target_section(const StudyResults& results, bool measured);

}  // namespace colonnade::host
