#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace colonnade {

// A range of one axis of one site: `size * group` indices from `start`.
struct SymmetryMember {
  std::string site;
  int axis = 0;  // 0 rows, 1 columns of the site's matrix
  std::int64_t start = 0;
};

// A group of axes across sites that can be permuted together without changing the function. `size` variables; each is `group`
// neighbouring indices (a head's values), usually 1.
struct Symmetry {
  std::string name;  // unique in the model: "layers.3.channels", "model"
  std::string axis;  // kind of axis: "channels", "state", "model", "hidden", "heads"
  int layer = -1;
  std::int64_t size = 0;
  std::int64_t group = 1;
  std::vector<SymmetryMember> members;
};

}  // namespace colonnade
