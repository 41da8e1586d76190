#pragma once

#include <string>

#include "kernel/report/report.h"

namespace colonnade::host {

// The report's sections on what was set, in Markdown: settings and numeric environment; each op's parameters, those
// that are not as by default in a table. "" where there is nothing to say.
std::string conditions_section(const StudyResults& results);
std::string parameters_section(const StudyResults& results);

}  // namespace colonnade::host
