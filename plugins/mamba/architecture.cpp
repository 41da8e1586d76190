#include "architecture.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include "colonnade/error.h"

namespace colonnade::mamba {
namespace {

/// What goes into a layer's scan.
struct ScanTensors {
  Tensor x, delta, a, b, c, d;
};

Tensor scan(const Configuration& c, const ScanTensors& in) {
  const auto function = c.fused ? selective_scan : selective_scan_reference;
  return function(in.x, in.delta, in.a, in.b, in.c, in.d, Tensor(), c.discretization).y;
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

Tensor mixer(SiteRunner& run, const Configuration& c, std::int64_t layer, const Tensor& input) {
  const std::string prefix = layer_prefix(layer) + "mixer.";
  const std::int64_t inner = c.d_inner();
  const Tensor xz = run.linear(prefix + "in_proj", input);
  const Tensor z = xz.narrow(-1, inner, inner);
  ScanTensors in;
  in.x = at::silu(run.causal_conv1d(prefix + "conv1d", xz.narrow(-1, 0, inner)));
  const Tensor selected = run.linear(prefix + "x_proj", in.x);
  in.b = selected.narrow(-1, c.dt_rank, c.d_state);
  in.c = selected.narrow(-1, c.dt_rank + c.d_state, c.d_state);
  in.delta = at::softplus(run.linear(prefix + "dt_proj", selected.narrow(-1, 0, c.dt_rank)));
  in.a = -at::exp(run.parameter(prefix + "A_log"));
  in.d = run.parameter(prefix + "D");
  observe_states(run, c, layer, in);
  return run.linear(prefix + "out_proj", scan(c, in) * at::silu(z));
}

void check_ids(const Tensor& ids, std::int64_t vocabulary) {
  if (ids.dim() != 2 || ids.scalar_type() != at::kLong) {
    throw Error(ErrorKind::input, "a Mamba model reads ids [B, L] of 64-bit integers");
  }
  if (ids.numel() == 0) return;
  const auto lowest = ids.min().item<std::int64_t>();
  const auto highest = ids.max().item<std::int64_t>();
  if (lowest >= 0 && highest < vocabulary) return;
  throw Error(ErrorKind::input, "token id " + std::to_string(lowest < 0 ? lowest : highest) +
                                    " is outside the model's vocabulary of " + std::to_string(vocabulary));
}

}  // namespace

Tensor Mamba::forward(SiteRunner& run, const Json& document, const Batch& batch) const {
  const Configuration c = configuration_from(document);
  const Tensor& ids = batch.at("ids");
  check_ids(ids, c.vocabulary);
  const Symmetry* stream = run.wanted("model");
  Tensor x = run.embedding(kEmbeddingSite, ids);
  for (std::int64_t layer = 0; layer < c.layers; ++layer) {
    x = x + mixer(run, c, layer, run.rms_norm(layer_prefix(layer) + "norm", x, c.norm_epsilon));
    if (stream != nullptr) run.observe(*stream, x);
  }
  return run.linear_transposed_embedding(kEmbeddingSite, run.rms_norm(kFinalNormSite, x, c.norm_epsilon));
}

}  // namespace colonnade::mamba
