// links: plugin_clip_objects
//
// Both towers of a CLIP model from a folder with model.safetensors and inputs.safetensors (pixels, ids and the
// embeddings of length 1 that a reference gives: pictures, texts): prints for each the median milliseconds and the
// largest error relative to the largest embedding. tests/oracles/clip_speed.py makes such a folder and times the
// reference beside it.
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "colonnade/tensor/safetensors.h"
#include "plugins/clip/load.h"

namespace {

using colonnade::Model;
using colonnade::Tensor;

constexpr int kRepeats = 7;

void measure(const char* name, const Model& model, const colonnade::Batch& batch, const Tensor& expected) {
  Tensor result = model.forward(batch);
  std::vector<double> times;
  for (int i = 0; i < kRepeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    result = model.forward(batch);
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  const double error = ((result - expected).abs().max() / expected.abs().max()).item<double>();
  std::printf("%s %.2f ms, error %.2e\n", name, times[times.size() / 2], error);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    std::fprintf(stderr, "usage: clip_towers FOLDER THREADS\n");
    return 2;
  }
  at::set_num_threads(std::atoi(arguments[2]));
  const c10::NoGradGuard no_gradients;
  const std::string folder = arguments[1];
  colonnade::clip::LoadRequest request;
  request.weights = folder;
  const Model model = colonnade::clip::load_model(request);
  const auto inputs = colonnade::open_safetensors(folder + "/inputs.safetensors");
  const auto read = [&](const char* name) { return colonnade::read_tensor(inputs, name); };
  measure("pictures", model, {{{"pixels", read("pixels")}}}, read("pictures"));
  measure("texts", model, {{{"ids", read("ids")}}}, read("texts"));
  const Tensor full = read("full_ids");
  measure("full texts", model, {{{"ids", full}}}, read("full_texts"));
}
