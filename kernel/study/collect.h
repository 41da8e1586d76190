#pragma once

#include <functional>
#include <string>

#include "kernel/plugin/catalogue.h"
#include "kernel/report/report.h"
#include "kernel/store/store.h"
#include "kernel/study/record.h"

namespace colonnade::host {

using FieldReader = std::function<Field(const NodeRecord& node, const std::string& field)>;

// What a report needs, from a run's journal and the store. A metric whose node, or any ancestor of it, is of a measured
// op counts as measured. In the lock's order of arms and seeds, whatever order the journal has; failures and notes by
// their first line.
StudyResults collect_results(const RunHistory& history, const Json& lock, const std::string& lock_id,
                             const Store& store, const Catalogue& catalogue, const FieldReader& read);

// Reads fields from the store alone. Error(environment) naming the node whose value is not there or damaged.
FieldReader stored_fields(Store& store);

// The nodes that the run's trials reach, inputs before users; ones of earlier attempts are left out.
std::vector<const NodeRecord*> reached_nodes(const RunHistory& history, const std::string& arm = "");

}  // namespace colonnade::host
