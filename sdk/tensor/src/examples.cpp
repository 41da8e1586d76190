#include "colonnade/tensor/examples.h"

#include <ATen/Functions.h>

#include <optional>
#include <set>

#include "colonnade/error.h"
#include "colonnade/tensor/device.h"

namespace colonnade {

namespace {

constexpr const char* examples_type = "examples";
const std::string rows_prefix = "rows/";
const std::string index_prefix = "index/";
const std::string shared_prefix = "shared/";
constexpr double largest_byte = 255;

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorKind::input, "examples: " + what);
}

Tensor of_channels(const std::vector<double>& values, std::int64_t dimensions, at::ScalarType type) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(dimensions), 1);
  shape[1] = static_cast<std::int64_t>(values.size());
  return at::tensor(values, at::TensorOptions().dtype(at::kDouble)).to(type).reshape(shape);
}

Tensor converted(const Tensor& rows, const ChannelScaling* scaling, at::ScalarType type) {
  if (scaling == nullptr) return rows.is_floating_point() ? rows.to(type) : rows.to(at::kLong);
  // One product and one sum: byte * (1 / (255 deviation)) - mean / deviation.
  std::vector<double> factor, shift;
  for (std::size_t i = 0; i < scaling->mean.size(); ++i) {
    factor.push_back(1 / (largest_byte * scaling->deviation[i]));
    shift.push_back(-scaling->mean[i] / scaling->deviation[i]);
  }
  Tensor result = rows.to(type);
  return result.mul_(of_channels(factor, rows.dim(), type)).add_(of_channels(shift, rows.dim(), type));
}

void check_scaling(const std::string& name, const Tensor& tensor, const ChannelScaling& scaling) {
  constexpr std::int64_t fewest_dimensions = 2;
  const auto channels = static_cast<std::int64_t>(scaling.mean.size());
  if (tensor.scalar_type() != at::kByte) refuse("'" + name + "' has a scaling but holds no bytes");
  if (tensor.dim() < fewest_dimensions || tensor.size(1) != channels ||
      scaling.deviation.size() != scaling.mean.size()) {
    refuse("'" + name + "' has the shape " + Json(tensor.sizes().vec()).dump() + ", its scaling " +
           std::to_string(channels) + " means and " + std::to_string(scaling.deviation.size()) + " deviations");
  }
  for (const double deviation : scaling.deviation) {
    if (!(deviation > 0)) refuse("the scaling of '" + name + "' has a deviation that is not above 0");
  }
}

void check_index(const std::string& name, const Tensor& index, const Tensor& rows) {
  if (index.dim() != 1 || index.scalar_type() != at::kInt) refuse("the index of '" + name + "' is no row of i32");
  if (index.numel() == 0) return;
  const auto low = index.min().item<std::int64_t>(), high = index.max().item<std::int64_t>();
  if (low >= 0 && high < rows.size(0)) return;
  refuse("the index of '" + name + "' points to row " + std::to_string(low < 0 ? low : high) + " of " +
         std::to_string(rows.size(0)));
}

void check(const Examples& examples) {
  if (examples.rows.empty()) refuse("there are no tensors");
  for (const auto& [name, index] : examples.index) {
    const auto rows = examples.rows.find(name);
    if (rows == examples.rows.end()) refuse("an index points into '" + name + "', which is missing");
    check_index(name, index, rows->second);
  }
  for (const auto& [name, scaling] : examples.scaling) {
    const auto rows = examples.rows.find(name);
    if (rows == examples.rows.end()) refuse("a scaling is for '" + name + "', which is missing");
    check_scaling(name, rows->second, scaling);
  }
  std::optional<std::int64_t> count;
  for (const auto& [name, rows] : examples.rows) {
    if (examples.shared.contains(name)) refuse("'" + name + "' is both shared and by example");
    if (rows.dim() == 0) refuse("'" + name + "' has no rows");
    const auto index = examples.index.find(name);
    const std::int64_t own = index == examples.index.end() ? rows.size(0) : index->second.numel();
    if (count.value_or(own) != own) {
      refuse("'" + name + "' has " + std::to_string(own) + " examples, others have " + std::to_string(*count));
    }
    count = own;
  }
}

NamedTensors under(const Field& field, const std::string& prefix) {
  NamedTensors result;
  for (const auto& [name, blob] : field.tensors) {
    if (name.starts_with(prefix)) result.emplace(name.substr(prefix.size()), to_host_tensor(blob));
  }
  return result;
}

}  // namespace

std::int64_t Examples::count() const {
  if (rows.empty()) return 0;
  const auto& [name, first] = *rows.begin();
  const auto found = index.find(name);
  return found == index.end() ? first.size(0) : found->second.numel();
}

Tensor Examples::take(const std::string& name, const std::vector<std::int64_t>& wanted, at::ScalarType type) const {
  const auto found = rows.find(name);
  if (found == rows.end()) refuse("there is no '" + name + "'");
  for (const std::int64_t row : wanted) {
    if (row < 0 || row >= found->second.size(0)) {
      refuse("'" + name + "' has no row " + std::to_string(row) + " among its " +
             std::to_string(found->second.size(0)));
    }
  }
  const auto scale = scaling.find(name);
  const Tensor chosen = found->second.index_select(0, at::tensor(wanted, at::TensorOptions().dtype(at::kLong)));
  return converted(chosen, scale == scaling.end() ? nullptr : &scale->second, type);
}

Batch Examples::batch(const std::vector<std::int64_t>& examples, at::ScalarType type) const {
  const std::int64_t all = count();
  for (const std::int64_t example : examples) {
    if (example < 0 || example >= all)
      refuse("there is no example " + std::to_string(example) + " among " + std::to_string(all));
  }
  Batch batch;
  for (const auto& [name, tensor] : rows) {
    std::vector<std::int64_t> wanted = examples;
    if (const auto found = index.find(name); found != index.end()) {
      const Tensor plain = found->second.contiguous();
      for (std::int64_t& row : wanted) row = plain.const_data_ptr<int>()[row];
    }
    batch.tensors[name] = take(name, wanted, type);
  }
  for (const auto& [name, tensor] : shared) batch.tensors[name] = converted(tensor, nullptr, type);
  return batch;
}

Field to_field(const Examples& examples) {
  check(examples);
  Field field;
  field.type = examples_type;
  Json scaling = Json::object();
  for (const auto& [name, each] : examples.scaling)
    scaling[name] = {{"mean", each.mean}, {"deviation", each.deviation}};
  field.document = {{"about", examples.about}, {"scaling", std::move(scaling)}};
  for (const auto& [name, tensor] : examples.rows) field.tensors.emplace(rows_prefix + name, to_blob(tensor));
  for (const auto& [name, tensor] : examples.index) field.tensors.emplace(index_prefix + name, to_blob(tensor));
  for (const auto& [name, tensor] : examples.shared) field.tensors.emplace(shared_prefix + name, to_blob(tensor));
  return field;
}

Examples examples_from(const Field& field) {
  if (field.type != examples_type) {
    throw Error(ErrorKind::input, "a field of type '" + field.type + "' was given where 'examples' is needed");
  }
  Examples examples;
  examples.rows = under(field, rows_prefix);
  examples.shared = under(field, shared_prefix);
  for (const auto& [name, tensor] : under(field, index_prefix)) examples.index.emplace(name, tensor);
  try {
    examples.about = field.document.at("about");
    for (const auto& [name, each] : field.document.at("scaling").items()) {
      examples.scaling[name] = {each.at("mean").get<std::vector<double>>(),
                                each.at("deviation").get<std::vector<double>>()};
    }
  } catch (const Json::exception& problem) {
    refuse(std::string("the document cannot be read: ") + problem.what());
  }
  check(examples);
  return examples;
}

std::vector<std::int64_t> draw_examples(const RandomStream& random, std::int64_t count, std::int64_t size) {
  std::vector<std::int64_t> drawn;
  // Floyd's way of choosing `size` different numbers; then their order, since late numbers tend to come late.
  const std::int64_t wanted = std::min(count, size);
  std::set<std::int64_t> taken;
  for (std::int64_t upper = count - wanted; upper < count; ++upper) {
    const auto number = static_cast<std::int64_t>(
        random.at("choice").below(static_cast<std::uint64_t>(upper), static_cast<std::uint64_t>(upper) + 1));
    const std::int64_t chosen = taken.contains(number) ? upper : number;
    taken.insert(chosen);
    drawn.push_back(chosen);
  }
  for (std::int64_t last = wanted - 1; last > 0; --last) {
    const auto other = random.at("order").below(static_cast<std::uint64_t>(last), static_cast<std::uint64_t>(last) + 1);
    std::swap(drawn[static_cast<std::size_t>(last)], drawn[other]);
  }
  return drawn;
}

}  // namespace colonnade
