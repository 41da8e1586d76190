// links: plugin_mamba_objects
//
// The selective scan against the loop in tensor ops, in one process on the same threads, at the shape of a 130M model's
// block: prints the median milliseconds of both, forward and forward with backward, and their ratio.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <vector>

#include "plugins/mamba/scan_op.h"

namespace {

using colonnade::mamba::Discretization;
using colonnade::mamba::ScanResult;
using Inputs = std::vector<at::Tensor>;
using Scan = std::function<ScanResult(const Inputs&)>;

constexpr int64_t kBatch = 1, kChannels = 1536, kLength = 512, kStates = 16;

Inputs make_inputs() {
  at::manual_seed(1);
  Inputs inputs = {at::randn({kBatch, kLength, kChannels}),
                   (at::randn({kBatch, kLength, kChannels}) - 3).exp(),
                   -at::arange(1, kStates + 1, at::kFloat).repeat({kChannels, 1}),
                   at::randn({kBatch, kLength, kStates}),
                   at::randn({kBatch, kLength, kStates}),
                   at::randn({kChannels})};
  for (at::Tensor& tensor : inputs) tensor.requires_grad_();
  return inputs;
}

/// The loop as libraries without a fused kernel write it: decays and inputs of all steps ahead, as [B, D, L, N].
ScanResult loop_with_decays_ahead(const Inputs& in) {
  const at::Tensor delta = in[1].transpose(1, 2).unsqueeze(-1);
  const at::Tensor decay = at::exp(in[2].unsqueeze(0).unsqueeze(2) * delta);
  const at::Tensor entering = delta * in[3].unsqueeze(1) * in[0].transpose(1, 2).unsqueeze(-1);
  at::Tensor h = at::zeros({kBatch, kChannels, kStates});
  std::vector<at::Tensor> y;
  for (int64_t t = 0; t < kLength; ++t) {
    h = decay.select(2, t) * h + entering.select(2, t);
    y.push_back(at::matmul(h, in[4].select(1, t).unsqueeze(-1)).squeeze(-1));
  }
  return {at::stack(y, 1) + in[0] * in[5], h};
}

double median_milliseconds(int repeats, const std::function<void()>& work) {
  if (repeats > 1) work();
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

struct Times {
  double forward, both;
};

Times measure(const Scan& scan, const Inputs& inputs, int repeats, int backward_repeats) {
  const auto forward = [&] {
    const at::NoGradGuard no_grad;
    scan(inputs);
  };
  const auto both = [&] { torch::autograd::grad({scan(inputs).y.sum()}, inputs); };
  return {median_milliseconds(repeats, forward), median_milliseconds(backward_repeats, both)};
}

void print_row(const char* name, int threads, const Times& times, const Times& ours) {
  std::printf("%-28s %d threads  forward %8.2f ms (%5.1fx)  with backward %8.2f ms (%5.1fx)\n", name, threads,
              times.forward, times.forward / ours.forward, times.both, times.both / ours.both);
  std::fflush(stdout);
}

}  // namespace

int main() {
  const Inputs inputs = make_inputs();
  const Scan ours = [](const Inputs& in) {
    return selective_scan(in[0], in[1], in[2], in[3], in[4], in[5], {}, Discretization::mamba);
  };
  const Scan loop = [](const Inputs& in) {
    return selective_scan_reference(in[0], in[1], in[2], in[3], in[4], in[5], {}, Discretization::mamba);
  };
  std::printf("(B, D, L, N) = (%ld, %ld, %ld, %ld), fp32, %s\n", kBatch, kChannels, kLength, kStates,
              simd_target_name(colonnade::mamba::simd_target()).c_str());
  // The backward pass of the loop with decays ahead writes a [B, D, L, N] tensor for every step: once is enough.
  constexpr int kOurRepeats = 25, kLoopRepeats = 5, kOnce = 1;
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    const Times own = measure(ours, inputs, kOurRepeats, kOurRepeats);
    print_row("mamba::selective_scan", threads, own, own);
    print_row("loop, step by step", threads, measure(loop, inputs, kLoopRepeats, kLoopRepeats), own);
    print_row("loop, decays ahead", threads, measure(loop_with_decays_ahead, inputs, kLoopRepeats, kOnce), own);
  }
  return 0;
}
