// Where the tensors of a CLIP model lie in a file, in the two layouts there are.
#pragma once

#include <set>
#include <string>

#include "architecture.h"
#include "colonnade/tensor/weight_files.h"

namespace colonnade::clip {

/// A published tensor, or a part of one, that holds a site's weight.
struct Source {
  std::string tensor;
  std::int64_t start = 0, rows = -1;  // rows of it; -1: all
  bool transposed = false;            // the projections of the authors' layout are [in, out]
};

class Layout {
 public:
  /// Told by the names in the file; throws Error(input) where it has neither layout's.
  explicit Layout(const WeightFiles& file);

  bool original() const { return original_; }
  Source source_of(const Configuration& configuration, const SiteSpec& site) const;
  /// Buffers that some writers store beside the weights and that say nothing of them.
  bool is_buffer(const std::string& tensor) const;

  // Tensors that show the sizes.
  std::string token_embedding() const;
  std::string text_positions() const;
  std::string vision_positions() const;
  std::string patch_embedding() const;
  std::string vision_projection() const;
  std::string first_layer_mlp(Side side) const;
  /// What stands before the number of a layer.
  std::string layers_prefix(Side side) const;

 private:
  bool original_ = false;
};

}  // namespace colonnade::clip
