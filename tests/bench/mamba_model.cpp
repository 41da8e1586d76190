// links: plugin_mamba_objects
//
// A whole Mamba model from a folder with model.safetensors, config.json and inputs.safetensors (ids [B, L] and the
// logits that a reference gives for the last position): prefill, decoding token by token and a training step (loss and
// all gradients; then with layers recomputed), each with its peak of memory beyond the weights. With "decode" decoding
// alone, of weights in the type and of so many tokens as follow. tests/oracles/mamba_speed.py and decode_speed.py make
// such folders and time others beside it.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <malloc.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "colonnade/tensor/recurrent.h"
#include "colonnade/tensor/safetensors.h"
#include "plugins/mamba/load.h"

namespace {

using colonnade::Batch;
using colonnade::Model;
using colonnade::Tensor;

// "VmHWM:  123 kB" of this process; writing 5 to clear_refs sets the high-water mark back to what is held now.
double peak_megabytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  double kilobytes = 0;
  while (status >> word) {
    if (word == "VmHWM:") status >> kilobytes;
  }
  return kilobytes / 1024;
}

void measure(const char* name, int repeats, const std::function<void()>& work) {
  if (repeats > 1) work();
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << 5;
  const double before = peak_megabytes();
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  std::printf("%s %.5f s, peak %.0f MB beyond the weights\n", name, times[times.size() / 2], peak_megabytes() - before);
  std::fflush(stdout);
}

void measure_reading(const Model& model, const Tensor& ids, const Tensor& expected, bool prefill, int tokens) {
  const c10::NoGradGuard no_gradients;
  const Batch batch{{{"ids", ids}}};
  const Tensor last = model.forward(batch).select(1, -1);
  const double error = ((last - expected).abs().max() / expected.abs().max()).item<double>();
  std::printf("error %.2e\n", error);
  if (prefill) measure("prefill", 3, [&] { model.forward(batch); });

  colonnade::NamedTensors state = colonnade::initial_state(model, ids.size(0));
  colonnade::forward_from(model, batch, state);
  Batch next{{{"ids", ids.narrow(1, 0, 1).contiguous()}}};
  measure("decode", tokens,
          [&] { next.tensors["ids"] = colonnade::forward_from(model, next, state).select(1, -1).argmax(-1, true); });
}

void measure_training(Model model, const Tensor& ids) {
  std::vector<Tensor> parameters;
  for (const auto& parameter : model.parameters()) {
    parameter.tensor->requires_grad_(true);
    parameters.push_back(*parameter.tensor);
  }
  const Batch windows{{{"ids", ids.narrow(1, 0, ids.size(1) - 1).contiguous()},
                       {"targets", ids.narrow(1, 1, ids.size(1) - 1).contiguous()}}};
  for (const bool recompute : {false, true}) {
    colonnade::StepInfo info;
    info.training = true;
    info.recompute = recompute;
    measure(recompute ? "training step recomputed" : "training step", 2,
            [&] { torch::autograd::grad({model.loss(windows, info)}, parameters); });
  }
}

}  // namespace

int main(int count, char** arguments) {
  constexpr int kFolder = 1, kThreads = 2, kWhat = 3, kType = 4, kCount = 5, kUsualCount = 32;
  if (count <= kThreads || count > kCount + 1) {
    std::fprintf(stderr, "usage: mamba_model FOLDER THREADS [decode [f32|f64|bf16|f16 [TOKENS]]]\n");
    return 2;
  }
  at::set_num_threads(std::atoi(arguments[kThreads]));
  const std::string folder = arguments[kFolder];
  const bool all = count <= kWhat;
  colonnade::mamba::LoadRequest request;
  request.weights = folder;
  if (count > kType) request.dtype = colonnade::dtype_from_name(arguments[kType]);
  Model model = colonnade::mamba::load_model(request);
  const auto inputs = colonnade::open_safetensors(folder + "/inputs.safetensors");
  const Tensor ids = colonnade::read_tensor(inputs, "ids"), expected = colonnade::read_tensor(inputs, "last_logits");
  measure_reading(model, ids, expected, all, count > kCount ? std::atoi(arguments[kCount]) : kUsualCount);
  if (all) measure_training(std::move(model), ids);
}
