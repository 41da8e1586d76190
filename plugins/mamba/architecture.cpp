#include "architecture.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include "colonnade/error.h"
#include "colonnade/tensor/device.h"
#include "conv_op.h"
#include "gated_scan.h"
#include "step_op.h"

namespace colonnade::mamba {
namespace {

/// What goes into a layer's scan.
struct ScanTensors {
  Tensor x, delta, a, b, c, d, h0;
};

ScanResult scan(const Configuration& c, const ScanTensors& in) {
  const auto function = c.fused ? selective_scan : selective_scan_reference;
  return function(in.x, in.delta, in.a, in.b, in.c, in.d, in.h0, c.discretization);
}

/// The state averaged over d_state, [B, L, D]: what a C of 1/N reads out.
Tensor mean_over_states(const Configuration& c, const ScanTensors& in) {
  const Tensor weights = at::full_like(in.c, 1.0 / static_cast<double>(c.d_state));
  return selective_scan(in.x, in.delta, in.a, in.b, weights, Tensor(), Tensor(), c.discretization).y;
}

/// The state averaged over channels, [B, L, N]. States do not mix, so each is scanned on its own: in all the work of
/// one scan, and never a tensor of [B, L, D, N].
Tensor mean_over_channels(const Configuration& c, const ScanTensors& in) {
  std::vector<Tensor> means;
  for (std::int64_t n = 0; n < c.d_state; ++n) {
    const Tensor b = in.b.narrow(2, n, 1);
    const Tensor h =
        selective_scan(in.x, in.delta, in.a.narrow(1, n, 1), b, at::ones_like(b), Tensor(), Tensor(), c.discretization)
            .y;
    means.push_back(h.mean(2));
  }
  return at::stack(means, 2);
}

void observe_states(SiteRunner& run, const Configuration& c, std::int64_t layer, const ScanTensors& in) {
  const at::NoGradGuard no_gradients;
  const std::string prefix = "layers." + std::to_string(layer);
  if (const Symmetry* channels = run.wanted(prefix + ".channels")) run.observe(*channels, mean_over_states(c, in));
  if (const Symmetry* state = run.wanted(prefix + ".state")) run.observe(*state, mean_over_channels(c, in));
}

bool states_wanted(const SiteRunner& run, std::int64_t layer) {
  const std::string prefix = "layers." + std::to_string(layer);
  return run.wanted(prefix + ".channels") != nullptr || run.wanted(prefix + ".state") != nullptr;
}

std::string state_name(std::int64_t layer, const char* what) {
  return "layers." + std::to_string(layer) + "." + what;
}

/// What a state remembers once x follows it: as many of the last inputs as it has.
Tensor remember(const Tensor& remembered, const Tensor& x) {
  const std::int64_t past = remembered.size(1), fresh = x.size(1);
  if (fresh >= past) return x.narrow(1, fresh - past, past).clone();
  return at::cat({remembered.narrow(1, fresh, past - fresh), x}, 1);
}

/// silu(conv(x)), x [B, L, d_inner], behind the inputs that the state remembers, if there is one; replaces these.
Tensor convolve(SiteRunner& run, const Configuration& c, const std::string& site, const Tensor& x, Tensor* remembered) {
  const Tensor before = remembered == nullptr ? Tensor() : *remembered;
  if (remembered != nullptr) *remembered = remember(before, x);
  if (c.fused && !run.observed(site)) {
    const auto [taps, bias] = run.taps(site);
    if (has_conv_kernel(x, taps, bias, before)) return conv_silu(x, taps, bias, before);
  }
  if (remembered == nullptr) return at::silu(run.causal_conv1d(site, x));
  const Tensor joined = run.causal_conv1d(site, at::cat({before, x}, 1));
  return at::silu(joined.narrow(1, before.size(1), x.size(1)));
}

/// What a layer reads besides its input. Padding is zero before the convolution, so that it leaves nothing there, and
/// zero after it, so that it leaves nothing in the scan's state.
struct Sequence {
  Tensor mask;                    // [B, L, 1] in the weights' type, or undefined: no padding
  NamedTensors* state = nullptr;  // null: the sequence begins here and nothing is kept
};

/// The block between its two outer projections in few kernels.
Tensor fused_mixer(SiteRunner& run, const Configuration& c, const std::string& prefix, const Tensor& xz) {
  const auto halves = xz.split(c.d_inner(), -1);
  GatedScan in;
  in.x = xz.is_cpu() ? convolve(run, c, prefix + "conv1d", halves[0], nullptr)
                     : run.causal_conv1d_silu(prefix + "conv1d", halves[0]);
  const auto like_x = [&](const Tensor& tensor) { return tensor.to(in.x.scalar_type()); };
  const auto selected = like_x(run.linear(prefix + "x_proj", in.x))
                            .split_with_sizes(at::IntArrayRef{c.dt_rank, c.d_state, c.d_state}, -1);
  const auto [product, bias] = run.linear_and_bias(prefix + "dt_proj", selected[0]);
  in.delta = like_x(product);
  in.bias = bias;
  in.a = -at::exp(run.parameter(prefix + "A_log"));
  in.b = selected[1];
  in.c = selected[2];
  in.d = run.parameter(prefix + "D");
  in.z = like_x(halves[1]);
  return gated_scan(in, c.discretization);
}

/// The block between its two outer projections for one token of every sequence, where there are kernels for it.
Tensor token_mixer(SiteRunner& run, const Configuration& c, std::int64_t layer, const Tensor& xz, NamedTensors& state) {
  const std::string prefix = layer_prefix(layer) + "mixer.";
  const auto [taps, bias] = run.taps(prefix + "conv1d");
  TokenScan in;
  in.x = conv_silu_step(xz.narrow(-1, 0, c.d_inner()), taps, bias, state.at(state_name(layer, "conv")));
  const Tensor selected = run.linear(prefix + "x_proj", in.x);
  in.delta = run.linear(prefix + "dt_proj", selected.narrow(-1, 0, c.dt_rank));
  in.a_log = run.parameter(prefix + "A_log");
  in.b = selected.narrow(-1, c.dt_rank, c.d_state);
  in.c = selected.narrow(-1, c.dt_rank + c.d_state, c.d_state);
  in.d = run.parameter(prefix + "D");
  in.z = xz.narrow(-1, c.d_inner(), c.d_inner());
  return gated_scan_step(in, c.discretization, state.at(state_name(layer, "scan")));
}

Tensor mixer(SiteRunner& run, const Configuration& c, std::int64_t layer, const Tensor& input,
             const Sequence& sequence) {
  const std::string prefix = layer_prefix(layer) + "mixer.";
  const std::int64_t inner = c.d_inner();
  const auto masked = [&](const Tensor& x) { return sequence.mask.defined() ? x * sequence.mask : x; };
  const Tensor xz = run.linear(prefix + "in_proj", input);
  const bool plain = c.fused && !sequence.mask.defined() && !states_wanted(run, layer);
  if (plain && sequence.state == nullptr && has_gated_scan(xz)) {
    return run.linear(prefix + "out_proj", fused_mixer(run, c, prefix, xz));
  }
  if (plain && sequence.state != nullptr && has_token_step(xz, c.conv_width) && !run.observed(prefix + "conv1d")) {
    return run.linear(prefix + "out_proj", token_mixer(run, c, layer, xz, *sequence.state));
  }
  const Tensor z = xz.narrow(-1, inner, inner);
  const Tensor x = masked(xz.narrow(-1, 0, inner));
  ScanTensors in;
  Tensor* const remembered = sequence.state == nullptr ? nullptr : &sequence.state->at(state_name(layer, "conv"));
  in.x = masked(convolve(run, c, prefix + "conv1d", x, remembered));
  if (sequence.state != nullptr) in.h0 = sequence.state->at(state_name(layer, "scan"));
  const Tensor selected = run.linear(prefix + "x_proj", in.x);
  const auto like_x = [&](const Tensor& tensor) { return tensor.to(in.x.scalar_type()); };
  in.b = like_x(selected.narrow(-1, c.dt_rank, c.d_state));
  in.c = like_x(selected.narrow(-1, c.dt_rank + c.d_state, c.d_state));
  in.delta = like_x(at::softplus(run.linear(prefix + "dt_proj", selected.narrow(-1, 0, c.dt_rank))));
  in.a = -at::exp(run.parameter(prefix + "A_log"));
  in.d = run.parameter(prefix + "D");
  observe_states(run, c, layer, in);
  const ScanResult scanned = scan(c, in);
  if (sequence.state != nullptr) sequence.state->at(state_name(layer, "scan")) = scanned.h_last;
  return run.linear(prefix + "out_proj", scanned.y * at::silu(z));
}

void check_ids(const Batch& batch, std::int64_t vocabulary) {
  const Tensor& ids = batch.at("ids");
  if (ids.dim() != 2 || ids.scalar_type() != at::kLong) {
    throw Error(ErrorKind::input, "a Mamba model reads ids [B, L] of 64-bit integers");
  }
  if (ids.numel() == 0) return;
  const std::int64_t lowest = batch.id_range ? batch.id_range->lowest : ids.min().item<std::int64_t>();
  const std::int64_t highest = batch.id_range ? batch.id_range->highest : ids.max().item<std::int64_t>();
  if (lowest >= 0 && highest < vocabulary) return;
  throw Error(ErrorKind::input, "token id " + std::to_string(lowest < 0 ? lowest : highest) +
                                    " is outside the model's vocabulary of " + std::to_string(vocabulary));
}

/// What the head is given, [B, L, d_model].
Tensor run_layers(SiteRunner& run, const Configuration& c, const Batch& batch, NamedTensors* state) {
  const Tensor& ids = batch.at("ids");
  check_ids(batch, c.vocabulary);
  const Symmetry* stream = run.wanted("model");
  Tensor x = run.embedding(kEmbeddingSite, ids);
  Sequence sequence;
  sequence.state = state;
  if (batch.has("mask")) sequence.mask = batch.at("mask").to(x.scalar_type()).unsqueeze(-1);
  // A layer's branch is added to x in the pass that normalises it for the next.
  const bool chained = !run.info().recompute;
  Tensor branch;  // of the layer before, still to be added to x
  const auto next_norm = [&](const std::string& site) {
    auto [sum, normal] = run.add_rms_norm(site, x, branch, c.norm_epsilon);
    if (branch.defined() && stream != nullptr) run.observe(*stream, sum);
    x = sum;
    return normal;
  };
  for (std::int64_t layer = 0; layer < c.layers; ++layer) {
    if (chained) {
      branch = mixer(run, c, layer, next_norm(layer_prefix(layer) + "norm"), sequence);
      continue;
    }
    x = run.recomputed(layer_prefix(layer), x, [c, layer, sequence](SiteRunner& again, const Tensor& before) {
      const Tensor normal = again.rms_norm(layer_prefix(layer) + "norm", before, c.norm_epsilon);
      return before + mixer(again, c, layer, normal, sequence);
    });
    if (stream != nullptr) run.observe(*stream, x);
  }
  return next_norm(kFinalNormSite);
}

}  // namespace

Tensor Mamba::forward(SiteRunner& run, const Json& document, const Batch& batch) const {
  return run.linear_transposed_embedding(kEmbeddingSite, run_layers(run, configuration_from(document), batch, nullptr));
}

Tensor Mamba::loss(SiteRunner& run, const Json& document, const Batch& batch) const {
  const Tensor x = run_layers(run, configuration_from(document), batch, nullptr);
  return run.head_loss(kEmbeddingSite, x, batch.at("targets"));
}

NamedTensors Mamba::initial_state(const Json& document, std::int64_t batch, at::ScalarType dtype) const {
  const Configuration c = configuration_from(document);
  const auto options = at::TensorOptions().dtype(dtype).device(compute_device());
  NamedTensors state;
  for (std::int64_t layer = 0; layer < c.layers; ++layer) {
    state[state_name(layer, "conv")] = at::zeros({batch, c.conv_width - 1, c.d_inner()}, options);
    state[state_name(layer, "scan")] = at::zeros({batch, c.d_inner(), c.d_state}, options);
  }
  return state;
}

Tensor Mamba::forward_from(SiteRunner& run, const Json& document, const Batch& batch, NamedTensors& state) const {
  return run.linear_transposed_embedding(kEmbeddingSite, run_layers(run, configuration_from(document), batch, &state));
}

}  // namespace colonnade::mamba
