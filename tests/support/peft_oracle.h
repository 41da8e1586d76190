#pragma once

#include <ATen/Functions.h>

#include <fstream>
#include <string>

#include "colonnade/json.h"
#include "colonnade/tensor/site.h"
#include "tests/support/plugins.h"

namespace colonnade {

// One case of tests/oracles/peft_linear.json.
inline Json peft_oracle(const std::string& name) {
  std::ifstream file(std::string(COLONNADE_TEST_SOURCE_DIR) + "/tests/oracles/peft_linear.json");
  return Json::parse(file).at(name);
}

// Nested lists of numbers as a float64 tensor.
inline Tensor tensor_of(const Json& numbers) {
  if (!numbers.is_array()) return at::scalar_tensor(numbers.get<double>(), at::kDouble);
  std::vector<Tensor> rows;
  for (const Json& row : numbers) rows.push_back(tensor_of(row));
  return at::stack(rows);
}

}  // namespace colonnade
