#pragma once

#include <cstdint>
#include <string>

#include "colonnade/value.h"

namespace colonnade::host {

// How far two fields are apart. Numbers of the document and elements of the tensors count alike; what is no number, or
// has another shape, differs or not.
struct FieldDifference {
  std::int64_t elements = 0;   // numbers compared
  std::int64_t differing = 0;  // in their bits, and other parts that differ
  double max_absolute = 0;
  double max_relative = 0;  // of the worst tensor: max|a-b| / max|b|, b the recorded one
  std::string worst;        // the tensor or part that is furthest apart
  bool comparable = true;   // false: parts are missing, or of another shape or type

  std::string text() const;
};
FieldDifference compare_fields(const Field& now, const Field& recorded);

// Element `index` of a blob of any type.
double element_of(const Blob& blob, std::int64_t index);

}  // namespace colonnade::host
