// Dropping what one tensor in a file differs from another by, a block at a time.
#pragma once

#include <functional>
#include <string>

#include "dare.h"
#include "numbers.h"
#include "shards.h"

namespace colonnade::dare {

/// Where a tensor's numbers lie.
struct FileTensor {
  const Shard* file = nullptr;
  std::uint64_t begin = 0;
  Number type = Number::f32;
};

struct FileDrop {
  std::string tensor;
  FileTensor base, tuned;
  std::int64_t elements = 0;
  RandomStream numbers;  // of the site
};

struct FileDropped {
  std::int64_t dropped = 0;
  double factor = 1;
};

/// Gives base + f · mask ⊙ (tuned − base) in the type of `tuned`, piece by piece in order, to `write`. Uniform and
/// magnitude; masks and factors are those of a model's site with these numbers. Throws Error(input) naming tensor and
/// file where a difference or a result is no finite number.
FileDropped drop_file_tensor(const FileDrop& drop, const DareOptions& options, int threads,
                             const std::function<void(const std::byte* bytes, std::size_t size)>& write);

}  // namespace colonnade::dare
