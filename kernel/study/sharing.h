#pragma once

#include <string>
#include <vector>

#include "kernel/report/report.h"
#include "kernel/study/record.h"

namespace colonnade::host {

// What the declared groups of arms (`sharing` of a report, lua/declarations.h) took with what they share evaluated once,
// and what it would have been had every trial evaluated all of its nodes by itself, the questions of adaptive arms
// included. Nodes that the arm `beyond` has under the same seed count on neither side.
std::vector<SharingResult> sharing_of(const RunHistory& history, const Json& declared);

}  // namespace colonnade::host
