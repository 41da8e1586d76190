// links: plugin_mamba_objects
//
// The selective scan against loops in tensor ops, in one process on the same threads: prints the median milliseconds,
// forward and forward with backward, their ratios, and the shares of what the machine's exponentials and memory allow.
// The shape is that of a 130M model's block, or the arguments B D L N. tests/oracles/scan_speed.py has PyTorch's own
// loop beside it.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "plugins/mamba/scan_op.h"

namespace {

using colonnade::mamba::Discretization;
using colonnade::mamba::ScanResult;
using Inputs = std::vector<at::Tensor>;
using Scan = std::function<ScanResult(const Inputs&)>;

int64_t g_batch = 1, g_channels = 1536, g_length = 512, g_states = 16;

Inputs make_inputs() {
  at::manual_seed(1);
  Inputs inputs = {at::randn({g_batch, g_length, g_channels}),
                   (at::randn({g_batch, g_length, g_channels}) - 3).exp(),
                   -at::arange(1, g_states + 1, at::kFloat).repeat({g_channels, 1}),
                   at::randn({g_batch, g_length, g_states}),
                   at::randn({g_batch, g_length, g_states}),
                   at::randn({g_channels})};
  for (at::Tensor& tensor : inputs) tensor.requires_grad_();
  return inputs;
}

/// The loop as libraries without a fused kernel write it: decays and inputs of all steps ahead, as [B, D, L, N].
ScanResult loop_with_decays_ahead(const Inputs& in) {
  const at::Tensor delta = in[1].transpose(1, 2).unsqueeze(-1);
  const at::Tensor decay = at::exp(in[2].unsqueeze(0).unsqueeze(2) * delta);
  const at::Tensor entering = delta * in[3].unsqueeze(1) * in[0].transpose(1, 2).unsqueeze(-1);
  at::Tensor h = at::zeros({g_batch, g_channels, g_states});
  std::vector<at::Tensor> y;
  for (int64_t t = 0; t < g_length; ++t) {
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

/// Exponentials a second that LibTorch's vectorized exp reaches on numbers in the cache.
double exponential_rate() {
  constexpr int64_t kCount = 1 << 18, kTimes = 50;
  const at::Tensor in = at::randn({kCount}), out = at::empty({kCount});
  at::Tensor target = out;
  return 1e3 * kTimes * kCount / median_milliseconds(9, [&] {
           for (int64_t i = 0; i < kTimes; ++i) at::exp_out(target, in);
         });
}

/// Bytes a second that a copy reads and writes.
double copy_rate() {
  const at::Tensor from = at::ones({int64_t{1} << 26});
  at::Tensor to = at::empty_like(from);
  return 1e3 * 2 * static_cast<double>(from.nbytes()) / median_milliseconds(7, [&] { to.copy_(from); });
}

void print_shares(int threads, double forward_milliseconds) {
  const auto elements = static_cast<double>(g_batch * g_length * g_channels);
  const double exponentials = elements * static_cast<double>(g_states);
  const double bytes = sizeof(float) * (3 * elements + 2 * static_cast<double>(g_batch * g_length * g_states));
  const double seconds = forward_milliseconds / 1e3;
  std::printf(
      "%-28s %d threads  forward is %.0f %% of the rate of LibTorch's exponentials, %.0f %% of a copy's bytes\n", "",
      threads, 100 * exponentials / seconds / exponential_rate(), 100 * bytes / seconds / copy_rate());
  std::fflush(stdout);
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 5) {
    int64_t* const sizes[] = {&g_batch, &g_channels, &g_length, &g_states};
    for (int i = 0; i < 4; ++i) *sizes[i] = std::atoll(arguments[i + 1]);
  } else if (count != 1) {
    std::fprintf(stderr, "usage: selective_scan [B D L N]\n");
    return 2;
  }
  const Inputs inputs = make_inputs();
  const Scan ours = [](const Inputs& in) {
    return selective_scan(in[0], in[1], in[2], in[3], in[4], in[5], {}, Discretization::mamba);
  };
  const Scan loop = [](const Inputs& in) {
    return selective_scan_reference(in[0], in[1], in[2], in[3], in[4], in[5], {}, Discretization::mamba);
  };
  std::printf("(B, D, L, N) = (%ld, %ld, %ld, %ld), fp32, %s\n", g_batch, g_channels, g_length, g_states,
              simd_target_name(colonnade::mamba::simd_target()).c_str());
  // The backward pass of the loop with decays ahead writes a [B, D, L, N] tensor for every step: once is enough.
  constexpr int kOurRepeats = 25, kLoopRepeats = 5, kOnce = 1;
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    const Times own = measure(ours, inputs, kOurRepeats, kOurRepeats);
    print_row("mamba::selective_scan", threads, own, own);
    print_shares(threads, own.forward);
    if (count != 1) continue;
    print_row("loop, step by step", threads, measure(loop, inputs, kLoopRepeats, kLoopRepeats), own);
    print_row("loop, decays ahead", threads, measure(loop_with_decays_ahead, inputs, kLoopRepeats, kOnce), own);
  }
  return 0;
}
