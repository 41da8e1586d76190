#pragma once

#include <string>

#include "kernel/report/analysis.h"

namespace colonnade::host {

// What became of declared targets, for the report's parts in findings.h.

std::string target_sentence(const Target& target);  // an item of a Markdown list
std::string target_section(const StudyResults& results, bool measured);
Json target_json(const Target& target);

}  // namespace colonnade::host
