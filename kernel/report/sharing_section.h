#pragma once

#include <string>

#include "kernel/report/report.h"

namespace colonnade::host {

// A group of arms one by one and shared, in Markdown: how many evaluations, or what they took.
std::string sharing_section(const SharingResult& sharing, bool measured);

}  // namespace colonnade::host
