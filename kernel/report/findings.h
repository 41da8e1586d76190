#pragma once

#include <string>

#include "kernel/report/report.h"

namespace colonnade::host {

// The parts of the report that are computed from the results and from declared comparisons, effects and targets, in
// Markdown. `measured` chooses those on measured metrics, which stand in the measured report. "" where there is nothing
// to say.

// One item for each comparison, effect analysis and target as declared, and for each metric's best arm.
std::string key_findings(const StudyResults& results, bool measured);
std::string comparison_section(const StudyResults& results, bool measured);
std::string effect_section(const StudyResults& results, bool measured);
std::string impact_section(const StudyResults& results, bool measured);

// The same numbers as a document.
Json findings_json(const StudyResults& results);

}  // namespace colonnade::host
