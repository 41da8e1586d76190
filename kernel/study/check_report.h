#pragma once

#include <string>
#include <utility>
#include <vector>

#include "kernel/plugin/catalogue.h"
#include "kernel/store/store.h"
#include "kernel/study/record.h"

namespace colonnade::host {

// A report's file that is not what its run's values give.
struct ReportDifference {
  std::string file;  // in the run's folder
  int line = 0;      // the first that differs; 0 if the file is absent
  std::string text;  // a sentence for people
};

struct ReportCheck {
  std::vector<ReportDifference> differences;
  std::string skipped;  // why nothing was compared, "" if it was
};

// A store that may have the run's values, and the run's history with the keys that they have there.
using ValueSource = std::pair<const RunHistory*, Store*>;

// Renders the report's texts again, from the first source that has all the values, and compares bytes. Measured parts
// and pictures are left out.
ReportCheck check_report(const RunRecord& run, const std::vector<ValueSource>& sources, const Catalogue& catalogue);

}  // namespace colonnade::host
