#include "mask.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>

#include "colonnade/error.h"

namespace colonnade {

namespace {

constexpr const char* type_id = "mask/mask@1";
constexpr double initial_spread = 0.01;

// The tensors of a mask.
constexpr const char* logits_name = "logits";
constexpr const char* keep_name = "keep";
constexpr const char* mean_name = "mean";
constexpr const char* steps_name = "steps";
constexpr const char* active_name = "active";
constexpr const char* row_block_name = "row_block";
constexpr const char* column_block_name = "column_block";

std::string granularity_name(Granularity granularity) {
  switch (granularity) {
    case Granularity::element:
      return "element";
    case Granularity::row:
      return "row";
    case Granularity::column:
      return "column";
    case Granularity::block:
      return "block";
  }
  return "";
}

std::int64_t blocks_in(std::int64_t length, std::int64_t block) {
  return (length + block - 1) / block;
}

class LearnedMask final : public MaskAdapter {
 public:
  LearnedMask(MaskOptions options, std::map<std::string, AdapterTensor> tensors)
      : options_(options), tensors_(std::move(tensors)) {}

  std::string type() const override { return type_id; }
  Json configuration() const override {
    return {{"granularity", granularity_name(options_.granularity)},
            {"block_rows", options_.block_rows},
            {"block_columns", options_.block_columns},
            {"noise", options_.noise == MaskNoise::logistic ? "logistic" : "gumbel"},
            {"temperature", options_.temperature},
            {"final_temperature", options_.final_temperature},
            {"straight_through", options_.straight_through},
            {"logit_rate", options_.logit_rate}};
  }
  std::map<std::string, AdapterTensor>& tensors() override { return tensors_; }
  std::unique_ptr<Adapter> clone() const override { return std::make_unique<LearnedMask>(*this); }
  void bind(const SiteSpec& site) override { site_ = site; }

  Tensor mask(const StepInfo& info) const override {
    if (!info.training) return spread(tensor(keep_name).to(tensor(logits_name).scalar_type()));
    const Tensor& logits = tensor(logits_name);
    const RandomStream draws = info.random.at("mask").at(site_.name);
    Tensor noise = options_.noise == MaskNoise::logistic ? random_logistic(draws, logits.sizes(), logits.scalar_type())
                                                         : random_gumbel(draws, logits.sizes(), logits.scalar_type());
    Tensor noisy = logits + noise;
    Tensor soft = at::sigmoid(noisy / temperature_at(info));
    // Exactly 0 or 1 going forward: (soft - soft) comes first, so that nothing is rounded.
    if (options_.straight_through) soft = (soft - soft.detach()) + (noisy > 0).to(soft.scalar_type());
    sample_ = soft.detach();
    return spread(soft);
  }

  void after_step(const StepInfo&) override {
    if (!sample_.defined()) return;
    Tensor& steps = tensors_.at(steps_name).tensor;
    Tensor& mean = tensors_.at(mean_name).tensor;
    steps = steps + 1;
    mean = mean + (sample_ - mean) / steps;
    sample_ = Tensor();
  }

  Tensor hard_mask() const override { return spread(tensor(keep_name)); }

  Json summary() const override {
    Tensor weights = governed();
    const double all = weights.sum().item<double>();
    const double kept = (weights * tensor(keep_name)).sum().item<double>();
    return {{"sparsity", all > 0 ? 1 - kept / all : 0.0}};
  }

  Tensor& logits() override { return tensors_.at(logits_name).tensor; }
  Tensor& keep() override { return tensors_.at(keep_name).tensor; }
  const SiteSpec& site() const override { return site_; }
  Tensor sampled_mean() const override { return tensor(steps_name).item<double>() > 0 ? tensor(mean_name) : Tensor(); }

  Tensor governed() const override {
    Tensor active = tensor(active_name).to(at::kDouble);
    const std::int64_t columns = site_.columns();
    switch (options_.granularity) {
      case Granularity::element:
        return active.reshape({-1, 1}).expand({site_.rows(), columns});
      case Granularity::row:
        return active * static_cast<double>(columns);
      case Granularity::column:
        return active.sum().expand({columns});
      case Granularity::block:
        break;
    }
    const Tensor& logits = tensor(logits_name);
    Tensor rows = at::zeros({logits.size(0)}, active.options()).index_add(0, tensor(row_block_name), active);
    Tensor within = at::zeros({logits.size(1)}, active.options())
                        .index_add(0, tensor(column_block_name), at::ones({columns}, active.options()));
    return rows.reshape({-1, 1}) * within;
  }

  Tensor spread(const Tensor& like_logits) const override {
    Tensor whole = spread_to_matrix(like_logits);
    Tensor active = tensor(active_name).reshape({-1, 1});
    if (whole.scalar_type() == at::kBool) return at::logical_or(whole, at::logical_not(active));
    return at::where(active, whole, at::ones({}, whole.options()));
  }

  Tensor active_elements() const override {
    return tensor(active_name).reshape({-1, 1}).expand({site_.rows(), site_.columns()});
  }

 private:
  const Tensor& tensor(const char* name) const { return tensors_.at(name).tensor; }

  double temperature_at(const StepInfo& info) const {
    if (info.total_steps <= 1) return options_.temperature;
    const double progress = static_cast<double>(info.step) / static_cast<double>(info.total_steps - 1);
    return options_.temperature * std::pow(options_.final_temperature / options_.temperature, std::min(1.0, progress));
  }

  Tensor spread_to_matrix(const Tensor& values) const {
    const std::int64_t rows = site_.rows(), columns = site_.columns();
    switch (options_.granularity) {
      case Granularity::element:
        return values;
      case Granularity::row:
        return values.reshape({-1, 1}).expand({rows, columns});
      case Granularity::column:
        return values.reshape({1, -1}).expand({rows, columns});
      case Granularity::block:
        break;
    }
    return values.index_select(0, tensor(row_block_name)).index_select(1, tensor(column_block_name));
  }

  MaskOptions options_;
  std::map<std::string, AdapterTensor> tensors_;
  SiteSpec site_;
  mutable Tensor sample_;  // the last M drawn, until the step ends
};

// Shape and dimensions of the logits.
AdapterTensor logit_tensor(const SiteSpec& site, const MaskOptions& options) {
  const auto make = [](std::vector<std::int64_t> shape, int row_dim, int column_dim) {
    return AdapterTensor{at::zeros(shape, at::kDouble), row_dim, column_dim, true, 1};
  };
  switch (options.granularity) {
    case Granularity::element:
      return make({site.rows(), site.columns()}, 0, 1);
    case Granularity::row:
      return make({site.rows()}, 0, -1);
    case Granularity::column:
      return make({site.columns()}, -1, 0);
    case Granularity::block:
      break;
  }
  return make({blocks_in(site.rows(), options.block_rows), blocks_in(site.columns(), options.block_columns)}, -1, -1);
}

Tensor block_index(std::int64_t length, std::int64_t block) {
  return at::arange(length, at::kLong).div(block, "floor");
}

Tensor active_rows(const SiteSpec& site, const SelectedSite& selection) {
  if (selection.rows.empty()) return at::ones({site.rows()}, at::kBool);
  Tensor active = at::zeros({site.rows()}, at::kBool);
  for (const Part& part : selection.rows) active.narrow(0, part.start, part.size).fill_(true);
  return active;
}

MaskOptions options_from(const Json& configuration) {
  MaskOptions options;
  options.granularity = granularity_from(configuration.at("granularity").get<std::string>());
  options.block_rows = configuration.at("block_rows").get<std::int64_t>();
  options.block_columns = configuration.at("block_columns").get<std::int64_t>();
  options.noise = configuration.at("noise") == "logistic" ? MaskNoise::logistic : MaskNoise::gumbel;
  options.temperature = configuration.at("temperature").get<double>();
  options.final_temperature = configuration.at("final_temperature").get<double>();
  options.straight_through = configuration.at("straight_through").get<bool>();
  options.logit_rate = configuration.at("logit_rate").get<double>();
  return options;
}

// Every tensor of a mask like `logits`, empty as yet.
std::map<std::string, AdapterTensor> layout(const AdapterTensor& logits, bool blocks) {
  const int rows = logits.row_dim, columns = logits.column_dim;
  std::map<std::string, AdapterTensor> tensors = {{logits_name, logits},
                                                  {keep_name, {{}, rows, columns, false, 1}},
                                                  {mean_name, {{}, rows, columns, false, 1}},
                                                  {steps_name, {{}, -1, -1, false, 1}},
                                                  {active_name, {{}, 0, -1, false, 1}}};
  if (!blocks) return tensors;
  tensors[row_block_name] = {{}, 0, -1, false, 1};
  tensors[column_block_name] = {{}, -1, 0, false, 1};
  return tensors;
}

bool is_index(const Tensor& tensor, std::int64_t count, std::int64_t bound) {
  return tensor.dim() == 1 && tensor.numel() == count && tensor.scalar_type() == at::kLong &&
         at::logical_and(tensor >= 0, tensor < bound).all().item<bool>();
}

bool fits(const std::map<std::string, AdapterTensor>& tensors, at::IntArrayRef shape, const SiteSpec& site) {
  const auto at_name = [&](const char* name) -> const Tensor& { return tensors.at(name).tensor; };
  const Tensor& logits = at_name(logits_name);
  const Tensor& active = at_name(active_name);
  if (logits.sizes() != shape || !logits.is_floating_point()) return false;
  if (at_name(mean_name).sizes() != shape || at_name(mean_name).scalar_type() != logits.scalar_type()) return false;
  if (at_name(keep_name).sizes() != shape || at_name(keep_name).scalar_type() != at::kBool) return false;
  if (at_name(steps_name).numel() != 1 || !at_name(steps_name).is_floating_point()) return false;
  if (active.dim() != 1 || active.numel() != site.rows() || active.scalar_type() != at::kBool) return false;
  if (!tensors.contains(row_block_name)) return true;
  return is_index(at_name(row_block_name), site.rows(), shape[0]) &&
         is_index(at_name(column_block_name), site.columns(), shape[1]);
}

std::unique_ptr<Adapter> load(const Json& configuration, const SiteSpec& site, const NamedTensors& stored) {
  const MaskOptions options = options_from(configuration);
  AdapterTensor logits = logit_tensor(site, options);
  const auto shape = logits.tensor.sizes().vec();
  logits.rate = options.logit_rate;
  auto tensors = layout(logits, options.granularity == Granularity::block);
  for (auto& [name, entry] : tensors) {
    const auto found = stored.find(name);
    if (found == stored.end())
      throw Error(ErrorKind::input, "the mask at site '" + site.name + "' lacks its tensor '" + name + "'");
    entry.tensor = found->second;
  }
  if (!fits(tensors, shape, site))
    throw Error(ErrorKind::input, "the mask's tensors do not fit site '" + site.name + "'");
  require_finite(tensors.at(logits_name).tensor, "the logits of the mask at site '" + site.name + "'");
  return std::make_unique<LearnedMask>(options, std::move(tensors));
}

}  // namespace

Granularity granularity_from(const std::string& name) {
  for (const Granularity granularity :
       {Granularity::element, Granularity::row, Granularity::column, Granularity::block}) {
    if (granularity_name(granularity) == name) return granularity;
  }
  throw Error(ErrorKind::input, "unknown granularity '" + name + "'; there are element, row, column, block");
}

std::shared_ptr<Adapter> make_mask(const SiteSpec& site, const SelectedSite& selection, const MaskOptions& options,
                                   double initial, at::ScalarType type, const RandomStream& random) {
  AdapterTensor logits = logit_tensor(site, options);
  Tensor noise = random_normal(random.at(site.name), logits.tensor.sizes(), at::kDouble);
  logits.tensor = (noise * initial_spread + initial).to(type);
  logits.rate = options.logit_rate;
  const bool blocks = options.granularity == Granularity::block;
  auto tensors = layout(logits, blocks);
  tensors[keep_name].tensor = at::ones(logits.tensor.sizes(), at::kBool);
  tensors[mean_name].tensor = at::zeros_like(logits.tensor);
  tensors[steps_name].tensor = at::zeros({1}, at::TensorOptions().dtype(type));
  tensors[active_name].tensor = active_rows(site, selection);
  if (blocks) {
    tensors[row_block_name].tensor = block_index(site.rows(), options.block_rows);
    tensors[column_block_name].tensor = block_index(site.columns(), options.block_columns);
  }
  return std::make_shared<LearnedMask>(options, std::move(tensors));
}

const char* const mask_adapter = "mask/mask";

AdapterType mask_type() {
  return {type_id, load};
}

Tensor pool(const MaskAdapter& mask, const Tensor& scores) {
  Tensor weights = mask.governed();
  Tensor active = mask.active_elements().to(at::kDouble);
  Tensor numbers = at::arange(weights.numel(), at::kLong).reshape(weights.sizes());
  Tensor sums = at::zeros({weights.numel()}, at::kDouble)
                    .index_add(0, mask.spread(numbers).reshape({-1}), (scores.to(at::kDouble) * active).reshape({-1}));
  return sums.reshape(weights.sizes()) / weights.clamp_min(1);
}

std::vector<MaskAdapter*> masks_of(const Model& model) {
  std::vector<MaskAdapter*> masks;
  for (const SiteSpec& site : model.sites()) {
    for (const AttachedAdapter* attached : model.adapters_of(site.name)) {
      if (attached->adapter->type() == type_id) masks.push_back(static_cast<MaskAdapter*>(attached->adapter.get()));
    }
  }
  return masks;
}

}  // namespace colonnade
