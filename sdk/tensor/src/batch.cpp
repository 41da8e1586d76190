#include "colonnade/tensor/batch.h"

#include <ATen/Functions.h>

#include "colonnade/error.h"
#include "colonnade/tensor/device.h"

namespace colonnade {

const Tensor& Batch::at(const std::string& name) const {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw Error(ErrorKind::input, "the batch has no '" + name + "'");
  return found->second;
}

Tensor token_windows(const Tokens& tokens, const std::vector<std::int64_t>& starts, std::int64_t length) {
  const Tensor all = to_host_tensor(tokens.ids);
  std::vector<Tensor> windows;
  windows.reserve(starts.size());
  for (const std::int64_t start : starts) {
    if (start < 0 || start + length > tokens.count()) {
      throw Error(ErrorKind::input, "a window of " + std::to_string(length) + " tokens from token " +
                                        std::to_string(start) + " on leaves the text, which has " +
                                        std::to_string(tokens.count()));
    }
    windows.push_back(all.narrow(0, start, length));
  }
  return at::stack(windows).to(at::kLong);
}

Batch window_batch(const Tokens& tokens, const std::vector<std::int64_t>& starts, std::int64_t length) {
  const Tensor windows = token_windows(tokens, starts, length + 1);
  Batch batch;
  batch.tensors["ids"] = windows.narrow(1, 0, length).contiguous();
  batch.tensors["targets"] = windows.narrow(1, 1, length).contiguous();
  return batch;
}

}  // namespace colonnade
