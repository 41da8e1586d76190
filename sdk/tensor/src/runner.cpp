#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "colonnade/error.h"
#include "colonnade/tensor/device.h"
#include "colonnade/tensor/empty_weight.h"
#include "colonnade/tensor/model.h"
#include "fused_ops.h"
#include "head_loss.h"
#include "product.h"

namespace colonnade {

namespace {

constexpr std::int64_t no_padding = -1;  // a row that at::embedding is to leave out

Tensor product_of(const Tensor& product, const Tensor& factor) {
  if (!factor.defined()) return product;
  return product.defined() ? product * factor : factor;
}

// What has no input to scale carries both scales in its weight: l_out ⊙ W ⊙ l_in.
Tensor with_scales(const Tensor& weight, const Tensor& scale_input, const Tensor& scale_output) {
  if (!scale_input.defined() && !scale_output.defined()) return weight;
  Tensor matrix = weight.reshape({weight.size(0), -1});
  if (scale_input.defined()) matrix = matrix * scale_input.reshape({1, -1});
  if (scale_output.defined()) matrix = matrix * scale_output.reshape({-1, 1});
  return matrix.reshape(weight.sizes());
}

}  // namespace

// What one use of a site comes to: y = l_out ⊙ (W (l_in ⊙ x) + branches(l_in ⊙ x) + b).
struct SiteRunner::Applied {
  Tensor weight;       // [shape], low-rank part and updates included unless they are branches
  bool empty = false;  // the weight is zero: its product may be left out
  Tensor low_rank_u, low_rank_v;
  Tensor scale_input, scale_output;
  struct Branch {
    const Adapter* adapter;
    Tensor masked_update;  // undefined: ask the adapter's branch
  };
  std::vector<Branch> branches;
};

SiteRunner::SiteRunner(const Model& model, const StepInfo& info, Observer* observer)
    : model_(model), info_(info), observer_(observer) {}

SiteRunner::Applied SiteRunner::apply(const std::string& name, bool branches) {
  const SiteWeight& weight = model_.weight(name);
  const auto attached = model_.adapters_of(name);
  Applied applied;
  const bool plain = attached.empty() && weight.rank() == 0 && !weight.has_reference();
  if (plain && !is_empty_weight(weight.sparse)) {
    applied.weight = weight.sparse;
    return applied;
  }
  Tensor mask;
  for (const AttachedAdapter* each : attached) {
    mask = product_of(mask, each->adapter->mask(info_));
    applied.scale_input = product_of(applied.scale_input, each->adapter->scale_input(info_));
    applied.scale_output = product_of(applied.scale_output, each->adapter->scale_output(info_));
  }
  const auto rows = weight.sparse.size(0);
  const auto matrix_shape = std::vector<std::int64_t>{rows, weight.sparse.numel() / rows};
  const bool masked = mask.defined() || weight.has_mask();
  Tensor sparse = weight.sparse.reshape(matrix_shape);
  for (const AttachedAdapter* each : attached) {
    const Adapter& adapter = *each->adapter;
    if (branches && !masked) {
      applied.branches.push_back({&adapter, Tensor()});
      continue;
    }
    Tensor update = adapter.update(info_);
    if (!update.defined()) continue;
    if (weight.has_mask()) update = update * weight.mask.reshape(matrix_shape);
    if (branches && info_.training) {
      applied.branches.push_back({&adapter, product_of(update, mask)});
      continue;
    }
    sparse = sparse + update;
  }
  applied.empty = branches && is_empty_weight(weight.sparse) && !masked && !weight.has_reference();
  if (applied.empty) {
    applied.low_rank_u = weight.u;
    applied.low_rank_v = weight.v;
    return applied;
  }
  Tensor whole = product_of(sparse, mask);
  if (weight.has_reference()) whole = whole + weight.reference.reshape(matrix_shape);
  if (weight.rank() > 0 && branches) {
    applied.low_rank_u = weight.u;
    applied.low_rank_v = weight.v;
  } else if (weight.rank() > 0) {
    whole = whole + at::matmul(weight.u, weight.v.t());
  }
  applied.weight = whole.reshape(weight.sparse.sizes());
  return applied;
}

Tensor SiteRunner::bias_of(const SiteSpec& site) {
  return site.bias.empty() ? Tensor() : parameter(site.bias);
}

void SiteRunner::report(const SiteSpec& site, const Tensor& input, const Tensor& output) {
  if (observer_ == nullptr || !observer_->wants_site(site)) return;
  at::NoGradGuard guard;
  observer_->on_site(site, input.detach(), output.detach());
}

Tensor SiteRunner::linear(const std::string& name, const Tensor& x) {
  const SiteSpec& site = model_.site(name);
  return affine(site, x, bias_of(site), nullptr);
}

SiteRunner::Affine SiteRunner::linear_and_bias(const std::string& name, const Tensor& x) {
  const SiteSpec& site = model_.site(name);
  if (!has_fused_ops(x) || observed(name)) return {linear(name, x), {}};
  Affine result;
  result.product = affine(site, x, bias_of(site), &result.bias);
  return result;
}

// With `bias_left` the bias is not added but, scaled as the output is, left there.
Tensor SiteRunner::affine(const SiteSpec& site, const Tensor& x, const Tensor& whole_bias, Tensor* bias_left) {
  const Applied applied = apply(site.name, true);
  const Tensor bias = bias_left == nullptr ? whole_bias : Tensor();
  const Tensor input = applied.scale_input.defined() ? x * applied.scale_input : x;
  // In training always LibTorch's, whether gradients are wanted now or when the layer is computed again: the same bits.
  const auto times = [&](const Tensor& rows, const Tensor& matrix, const Tensor& addend) {
    return info_.training ? at::linear(rows, matrix, addend) : product(rows, matrix, addend);
  };
  Tensor y = applied.empty ? Tensor() : times(input, applied.weight, bias);
  const auto add = [&](const Tensor& part) { y = y.defined() ? y + part : part; };
  if (applied.low_rank_u.defined()) add(times(times(input, applied.low_rank_v.t(), {}), applied.low_rank_u, {}));
  for (const Applied::Branch& branch : applied.branches) {
    Tensor seen = branch.adapter->branch_input(input, info_);
    Tensor addition =
        branch.masked_update.defined() ? at::linear(seen, branch.masked_update) : branch.adapter->branch(seen, info_);
    if (!addition.defined()) {
      Tensor update = branch.adapter->update(info_);
      if (update.defined()) addition = at::linear(seen, update);
    }
    if (addition.defined()) add(addition);
  }
  if (applied.empty) {
    auto shape = input.sizes().vec();
    shape.back() = site.rows();
    if (!y.defined()) y = at::zeros(shape, input.options());
    if (bias.defined()) y = y + bias;
  }
  if (applied.scale_output.defined()) y = y * applied.scale_output;
  if (bias_left != nullptr) *bias_left = product_of(whole_bias, whole_bias.defined() ? applied.scale_output : Tensor());
  report(site, input, y);
  return y;
}

Tensor SiteRunner::head_weight(const std::string& name) {
  const Applied applied = apply(name, false);
  if (applied.scale_input.defined() || applied.scale_output.defined()) {
    throw Error(ErrorKind::input, "site '" + name + "' has two roles, which scales cannot tell apart");
  }
  return applied.weight;
}

Tensor SiteRunner::linear_transposed_embedding(const std::string& name, const Tensor& x) {
  Tensor y = product(x, head_weight(name), {});
  report(model_.site(name), x, y);
  return y;
}

Tensor SiteRunner::head_loss(const std::string& name, const Tensor& x, const Tensor& targets) {
  const Tensor rows = x.reshape({-1, x.size(-1)}), classes = targets.reshape({-1});
  if (has_fused_ops(x) && !observed(name)) {
    constexpr std::int64_t piece = 4096;  // rows whose logits are held at once
    return product_cross_entropy(rows, head_weight(name), classes, piece, product_type(x));
  }
  if (!observed(name)) return head_cross_entropy(rows, head_weight(name), classes);
  const Tensor logits = linear_transposed_embedding(name, x);
  return at::cross_entropy_loss(logits.reshape({-1, logits.size(-1)}), classes, {}, at::Reduction::Mean, not_scored);
}

std::pair<Tensor, Tensor> SiteRunner::taps(const std::string& name) {
  const SiteSpec& site = model_.site(name);
  const Applied applied = apply(name, false);
  if (applied.scale_input.defined())
    throw Error(ErrorKind::input, "site '" + name + "': a convolution's taps have no input scale");
  const Tensor weight = with_scales(widened(applied.weight), {}, applied.scale_output);
  Tensor bias = bias_of(site);
  if (bias.defined() && applied.scale_output.defined()) bias = bias * applied.scale_output;
  return {weight.reshape({site.rows(), site.columns()}), bias};
}

Tensor SiteRunner::causal_conv1d(const std::string& name, const Tensor& x) {
  const SiteSpec& site = model_.site(name);
  const Applied applied = apply(name, false);
  if (applied.scale_input.defined())
    throw Error(ErrorKind::input, "site '" + name + "': a convolution's taps have no input scale");
  const std::int64_t length = x.size(1);
  const std::int64_t width = site.columns();
  Tensor padded = at::constant_pad_nd(x, {0, 0, width - 1, 0});
  Tensor taps = widened(applied.weight).reshape({site.rows(), width});
  Tensor y;
  for (std::int64_t tap = 0; tap < width; ++tap) {
    Tensor term = padded.narrow(1, tap, length) * taps.select(1, tap);
    y = y.defined() ? y + term : term;
  }
  Tensor bias = bias_of(site);
  if (bias.defined()) y = y + bias;
  if (applied.scale_output.defined()) y = y * applied.scale_output;
  report(site, x, y);
  return y;
}

Tensor SiteRunner::causal_conv1d_silu(const std::string& name, const Tensor& x) {
  const SiteSpec& site = model_.site(name);
  const std::int64_t width = site.columns();
  const bool fused = has_fused_ops(x) && width > 1 && width <= widest_fused_convolution && !observed(name);
  if (!fused) return at::silu(causal_conv1d(name, x));
  const auto [kernel, bias] = taps(name);
  return colonnade::causal_conv1d_silu(x, kernel, bias);
}

Tensor SiteRunner::embedding(const std::string& name, const Tensor& ids) {
  const SiteSpec& site = model_.site(name);
  const Applied applied = apply(name, false);
  if (applied.scale_input.defined() || applied.scale_output.defined()) {
    throw Error(ErrorKind::input, "site '" + name + "' is an embedding, which scales do not act on");
  }
  // Where the head's gradient is dense anyway, the rows that were looked up are added to it: no second matrix of its
  // size.
  const bool head_too = std::find(site.roles.begin(), site.roles.end(), "head") != site.roles.end();
  const bool tied = head_too && applied.weight.is_leaf() && ids.is_cpu();
  Tensor y = widened(at::embedding(applied.weight, ids, no_padding, false, tied));
  report(site, ids, y);
  return y;
}

Tensor SiteRunner::rms_norm(const std::string& name, const Tensor& x, double epsilon) {
  const SiteSpec& site = model_.site(name);
  if (x.is_cpu() && has_fused_norm(x, site.rows()) && !observed(name)) {
    return add_rms_norm(name, x, {}, epsilon).normal;
  }
  const Applied applied = apply(name, false);
  Tensor wide = widened(x);
  Tensor normal = wide * at::rsqrt(wide.square().mean(-1, true) + epsilon);
  Tensor weight = with_scales(widened(applied.weight), applied.scale_input, applied.scale_output);
  Tensor y = normal.to(x.scalar_type()) * weight;
  report(site, x, y);
  return y;
}

SiteRunner::Normed SiteRunner::add_rms_norm(const std::string& name, const Tensor& residual, const Tensor& branch,
                                            double epsilon) {
  const SiteSpec& site = model_.site(name);
  if (!has_fused_norm(residual, site.rows()) || observed(name)) {
    const Tensor sum = branch.defined() ? residual + branch : residual;
    return {sum, rms_norm(name, sum, epsilon)};
  }
  const Applied applied = apply(name, false);
  const Tensor weight = with_scales(widened(applied.weight), applied.scale_input, applied.scale_output);
  const auto [sum, normal] =
      colonnade::add_rms_norm(residual.contiguous(), branch, weight, epsilon, product_type(residual));
  return {sum, normal};
}

Tensor SiteRunner::layer_norm(const std::string& name, const Tensor& x, double epsilon) {
  const SiteSpec& site = model_.site(name);
  const Applied applied = apply(name, false);
  Tensor weight = with_scales(widened(applied.weight), applied.scale_input, applied.scale_output);
  Tensor bias = bias_of(site);
  if (bias.defined() && applied.scale_output.defined()) bias = bias * applied.scale_output;
  Tensor y = at::layer_norm(x, {site.rows()}, weight, bias, epsilon);
  report(site, x, y);
  return y;
}

Tensor SiteRunner::parameter(const std::string& name) {
  const Applied applied = apply(name, false);
  return with_scales(widened(applied.weight), applied.scale_input, applied.scale_output);
}

bool SiteRunner::observed(const std::string& name) const {
  return observer_ != nullptr && observer_->wants_site(model_.site(name));
}

const Symmetry* SiteRunner::wanted(const std::string& name) const {
  if (observer_ == nullptr) return nullptr;
  for (const Symmetry& symmetry : model_.symmetries()) {
    if (symmetry.name == name) return observer_->wants_variables(symmetry) ? &symmetry : nullptr;
  }
  return nullptr;
}

void SiteRunner::observe(const Symmetry& symmetry, const Tensor& variables) {
  at::NoGradGuard guard;
  observer_->on_variables(symmetry, variables.detach().reshape({-1, symmetry.size}));
}

}  // namespace colonnade
