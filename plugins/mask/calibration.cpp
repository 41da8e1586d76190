#include "calibration.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <set>

#include "colonnade/error.h"
#include "colonnade/tensor/calibration.h"

namespace colonnade {

namespace {

constexpr std::int64_t windows_at_once = 8;

// Sums of squares of what sites are given.
class InputSquares final : public Observer {
 public:
  explicit InputSquares(const std::vector<std::string>& sites) : wanted_(sites.begin(), sites.end()) {}
  bool wants_site(const SiteSpec& site) const override { return wanted_.contains(site.name); }
  void on_site(const SiteSpec& site, const Tensor& input, const Tensor&) override {
    Tensor squares = input.to(at::kDouble).reshape({-1, input.size(-1)}).square().sum(0);
    Tensor& total = sums_[site.name];
    total = total.defined() ? total + squares : squares;
  }
  const std::map<std::string, Tensor>& sums() const { return sums_; }

 private:
  std::set<std::string> wanted_;
  std::map<std::string, Tensor> sums_;
};

// What sites give in one forward pass; a site that is used twice gives twice.
class Outputs final : public Observer {
 public:
  explicit Outputs(const std::vector<SelectedSite>& sites) {
    for (const SelectedSite& site : sites) rows_[site.name] = site.rows;
  }
  bool wants_site(const SiteSpec& site) const override { return rows_.contains(site.name); }
  void on_site(const SiteSpec& site, const Tensor&, const Tensor& output) override {
    const std::vector<Part>& rows = rows_.at(site.name);
    Tensor tokens = output.to(at::kDouble).reshape({-1, output.size(-1)});
    if (!rows.empty() && site.kind != SiteKind::embedding) {
      std::vector<Tensor> parts;
      for (const Part& part : rows) parts.push_back(tokens.narrow(1, part.start, part.size));
      tokens = at::cat(parts, 1);
    }
    seen_[site.name].push_back(tokens.clone());
  }
  const std::map<std::string, std::vector<Tensor>>& seen() const { return seen_; }

 private:
  std::map<std::string, std::vector<Part>> rows_;
  std::map<std::string, std::vector<Tensor>> seen_;
};

// 1 − cos by token; two zero vectors agree, a zero and another one do not.
Tensor cosine_distance(const Tensor& a, const Tensor& b) {
  Tensor norms = a.norm(2, 1) * b.norm(2, 1);
  Tensor both_zero = at::logical_and((a == 0).all(1), (b == 0).all(1));
  Tensor cosine = (a * b).sum(1) / at::where(norms > 0, norms, at::ones({}, norms.options()));
  return at::where(both_zero, at::zeros({}, norms.options()), 1 - cosine);
}

void refuse_without_activations(const SiteSpec& site) {
  if (site.kind == SiteKind::linear || site.kind == SiteKind::conv1d) return;
  throw Error(ErrorKind::usage,
              "site '" + site.name + "' is of kind " + site_kind_name(site.kind) +
                  ", which is given no activations to weigh it by; narrow `sites` to linear and conv1d");
}

}  // namespace

std::vector<Batch> calibration_batches(const Tokens& text, std::int64_t tokens, std::int64_t length) {
  const std::int64_t available = (text.count() - 1) / length;
  if (available < 1) {
    throw Error(ErrorKind::input, "the text has " + std::to_string(text.count()) + " tokens; a window of length " +
                                      std::to_string(length) + " needs at least " + std::to_string(length + 1));
  }
  const std::int64_t windows = std::min(available, (tokens + length - 1) / length);
  std::vector<Batch> batches;
  for (std::int64_t first = 0; first < windows; first += windows_at_once) {
    std::vector<std::int64_t> starts;
    for (std::int64_t i = first; i < std::min(windows, first + windows_at_once); ++i) {
      starts.push_back(i * available / windows * length);
    }
    batches.push_back(window_batch(text, starts, length));
  }
  return batches;
}

std::vector<Batch> calibration_of(OpContext& context, at::ScalarType type) {
  if (!context.has_input("data")) return {};
  const Field& data = context.input("data");
  if (data.type == "examples") {
    return calibration_batches(data, context.param<std::int64_t>("samples"), context.param<std::int64_t>("length"),
                               type, windows_at_once);
  }
  return calibration_batches(tokens_from(context.input("data")), context.param<std::int64_t>("tokens"),
                             context.param<std::int64_t>("length"));
}

std::map<std::string, Tensor> input_norms(const Model& model, const std::vector<std::string>& sites,
                                          const std::vector<Batch>& batches) {
  at::NoGradGuard guard;
  for (const std::string& name : sites) refuse_without_activations(model.site(name));
  InputSquares squares(sites);
  for (const Batch& batch : batches) model.forward(batch, {}, &squares);
  std::map<std::string, Tensor> norms;
  for (const std::string& name : sites) {
    const auto found = squares.sums().find(name);
    if (found == squares.sums().end()) throw Error(ErrorKind::input, "the model never uses its site '" + name + "'");
    norms[name] = found->second.sqrt();
    require_finite(norms[name], "the inputs of site '" + name + "'");
  }
  return norms;
}

std::map<std::string, double> cosine_losses(const Model& dense, const Model& masked,
                                            const std::vector<SelectedSite>& sites, const std::vector<Batch>& batches) {
  at::NoGradGuard guard;
  std::map<std::string, double> sums, counts;
  for (const Batch& batch : batches) {
    Outputs of_dense(sites), of_masked(sites);
    dense.forward(batch, {}, &of_dense);
    masked.forward(batch, {}, &of_masked);
    for (const auto& [name, outputs] : of_dense.seen()) {
      const auto& others = of_masked.seen().at(name);
      for (std::size_t i = 0; i < outputs.size(); ++i) {
        Tensor distance = cosine_distance(others[i], outputs[i]);
        sums[name] += distance.sum().item<double>();
        counts[name] += static_cast<double>(distance.numel());
      }
    }
  }
  for (auto& [name, sum] : sums) sum /= counts.at(name);
  return sums;
}

std::int64_t rows_of(const Batch& batch) {
  return batch.at(batch.tensors.contains("targets") ? "targets" : "ids").size(0);
}

double mean_loss(const Model& model, const std::vector<Batch>& batches) {
  at::NoGradGuard guard;
  double sum = 0, rows = 0;
  for (const Batch& batch : batches) {
    const auto weight = static_cast<double>(rows_of(batch));
    sum += weight * model.loss(batch).item<double>();
    rows += weight;
  }
  return sum / rows;
}

double mean_training_loss(const Model& model, const std::vector<Batch>& batches, const RandomStream& random) {
  at::NoGradGuard guard;
  double sum = 0, rows = 0;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    // The last of two steps: schedules are at their end.
    const StepInfo info{true, 1, 2, random.at(static_cast<std::uint64_t>(i))};
    const auto weight = static_cast<double>(rows_of(batches[i]));
    sum += weight * model.loss(batches[i], info).item<double>();
    rows += weight;
  }
  return sum / rows;
}

std::map<std::string, Tensor> mean_gradients(const Model& model, const std::vector<std::string>& sites,
                                             const std::vector<Batch>& batches) {
  Model copy = model.mutable_copy(sites);
  std::vector<Tensor> leaves;
  for (const std::string& name : sites) {
    Tensor& weight = copy.writable(name).sparse;
    weight = weight.detach().requires_grad_(true);
    leaves.push_back(weight);
  }
  std::vector<Tensor> sums(leaves.size());
  for (const Batch& batch : batches) {
    at::AutoGradMode recording(true);
    const auto gradients = torch::autograd::grad({copy.loss(batch)}, leaves, {}, std::nullopt, false, true);
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      Tensor part = gradients[i].defined() ? gradients[i].to(at::kDouble) : at::zeros_like(leaves[i], at::kDouble);
      sums[i] = sums[i].defined() ? sums[i] + part : part;
    }
  }
  std::map<std::string, Tensor> result;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    const SiteSpec& site = model.site(sites[i]);
    result[sites[i]] = (sums[i].detach() / static_cast<double>(batches.size())).reshape({site.rows(), site.columns()});
  }
  return result;
}

}  // namespace colonnade
