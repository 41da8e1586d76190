#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kernel/evaluate/evaluator.h"
#include "kernel/store/project.h"
#include "kernel/study/record.h"

namespace colonnade::host {

struct ExportRequest {
  std::string what;  // an arm, or a node as resolve_node takes it
  std::optional<std::uint64_t> seed;
  std::string field;                // "" the model that the arm ends in; of a node, its only model or its only field
  std::string format;               // an op that makes files; "" where the field itself holds files
  std::vector<std::string> params;  // NAME=VALUE
  std::filesystem::path to;
  bool replace = false;
};

struct ExportOutcome {
  const NodeRecord* node = nullptr;
  std::string field, format;
  std::vector<std::pair<std::string, std::uint64_t>> files;  // name, bytes
};

// Writes a recorded value as files that other programs read. The value is the recorded one, whatever code is here now;
// the format's op is evaluated with the run's numeric environment, or found. Error(usage) names the formats there are.
ExportOutcome export_files(const RunRecord& run, const Project& project, const Catalogue& catalogue,
                           const ExportRequest& request, EvaluationObserver& observer);

}  // namespace colonnade::host
