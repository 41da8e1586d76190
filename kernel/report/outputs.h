#pragma once

#include <string>

#include "kernel/report/report.h"

namespace colonnade::host {

// The machine-readable outputs. Both are functions of the results without their measured parts.
std::string results_json(const StudyResults& results);
std::string results_csv(const StudyResults& results);
// Measured metrics, one row a trial; "" if there are none.
std::string measured_csv(const StudyResults& results);

}  // namespace colonnade::host
