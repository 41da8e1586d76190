#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "colonnade/op.h"

namespace colonnade {

// Everything the surroundings of an op supply. Empty callbacks do nothing. Workers and tests both evaluate through this, so an
// op cannot tell one from the other.
struct RunRequest {
  std::string op;                                             // full id
  Json params = Json::object();                               // completed by run_op
  std::vector<std::pair<std::string, Field>> inputs;          // by role, in order
  std::uint64_t seed = 0;
  std::uint64_t occurrence = 0;
  int threads = 1;
  std::string device = "cpu";
  std::function<void(std::int64_t done, std::int64_t total, const std::string& unit,
                     const std::vector<std::pair<std::string, double>>& metrics)>
      progress;
  std::function<void(const std::string&)> log;
  std::function<bool()> checkpoint_due;
  std::function<void(const Value&)> save_checkpoint;
  std::function<std::optional<Value>()> load_checkpoint;
};

// Completes parameters, checks inputs, runs the op in this process and thread, checks that the outputs are what the schema
// says. Throws Error with the op's id in the message; Cancelled passes.
Value run_op(const RunRequest& request);

}  // namespace colonnade
