// links: plugin_mamba_objects
//
// A whole Mamba model from a folder with model.safetensors, config.json and inputs.safetensors (ids [B, L] and the
// logits that a reference gives for the last position): prefill, decoding token by token and a training step (loss and
// all gradients), each with its peak of memory beyond the weights. tests/oracles/mamba_speed.py makes such a folder and
// times the reference beside it.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
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

void measure(const char* name, int repeats, double units, const std::function<void()>& work) {
  if (repeats > 1) work();
  std::ofstream("/proc/self/clear_refs") << 5;
  const double before = peak_megabytes();
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  std::printf("%s %.5f s, peak %.0f MB beyond the weights\n", name, times[times.size() / 2] / units,
              peak_megabytes() - before);
  std::fflush(stdout);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    std::fprintf(stderr, "usage: mamba_model FOLDER THREADS\n");
    return 2;
  }
  at::set_num_threads(std::atoi(arguments[2]));
  const std::string folder = arguments[1];
  colonnade::mamba::LoadRequest request;
  request.weights = folder;
  Model model = colonnade::mamba::load_model(request).mutable_copy();
  const auto inputs = colonnade::open_safetensors(folder + "/inputs.safetensors");
  const Tensor ids = colonnade::read_tensor(inputs, "ids"), expected = colonnade::read_tensor(inputs, "last_logits");

  {
    const c10::NoGradGuard no_gradients;
    const Batch batch{{{"ids", ids}}};
    const Tensor last = model.forward(batch).select(1, -1);
    const double error = ((last - expected).abs().max() / expected.abs().max()).item<double>();
    std::printf("error %.2e\n", error);
    measure("prefill", 3, 1, [&] { model.forward(batch); });

    constexpr int kTokens = 32;
    colonnade::NamedTensors state = colonnade::initial_state(model, ids.size(0));
    colonnade::forward_from(model, batch, state);
    measure("decode", 3, kTokens, [&] {
      Batch next{{{"ids", ids.narrow(1, 0, 1).contiguous()}}};
      for (int i = 0; i < kTokens; ++i) {
        next.tensors["ids"] = colonnade::forward_from(model, next, state).select(1, -1).argmax(-1, true);
      }
    });
  }

  std::vector<Tensor> parameters;
  for (const auto& parameter : model.parameters()) parameters.push_back(*parameter.tensor);
  for (Tensor& parameter : parameters) parameter.requires_grad_(true);
  Batch windows{{{"ids", ids.narrow(1, 0, ids.size(1) - 1).contiguous()},
                 {"targets", ids.narrow(1, 1, ids.size(1) - 1).contiguous()}}};
  measure("training step", 2, 1, [&] {
    const Tensor loss = model.loss(windows);
    torch::autograd::grad({loss}, parameters);
  });
}
