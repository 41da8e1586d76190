#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <cctype>

#include "colonnade/blob_writer.h"
#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/files.h"
#include "colonnade/tensor/published.h"
#include "ops.h"

namespace colonnade::realize {

namespace {

constexpr double default_shard_bytes = 5e9;
constexpr std::size_t header_alignment = 8;
constexpr int digits = 5;
constexpr int indentation = 2;

/// The published tensors of some sites, in one file.
using Shard = std::vector<const SiteSpec*>;

std::uint64_t bytes_of(const SiteSpec& site, at::ScalarType type) {
  return static_cast<std::uint64_t>(site.elements()) * c10::elementSize(type);
}

/// As safetensors writes it: "BF16".
std::string format_name(at::ScalarType type) {
  std::string name(dtype_name(dtype_of(type)));
  for (char& letter : name) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
  return name;
}

std::vector<Shard> shards_of(const Model& model, double limit) {
  std::vector<Shard> shards(1);
  double used = 0;
  for (const SiteSpec& site : model.sites()) {
    const auto bytes = static_cast<double>(bytes_of(site, model.weight_dtype()));
    if (!shards.back().empty() && used + bytes > limit) {
      shards.emplace_back();
      used = 0;
    }
    shards.back().push_back(&site);
    used += bytes;
  }
  return shards;
}

Tensor whole_weight(const Model& model, const SiteSpec& site) {
  const Tensor weight = effective_weight(model.weight(site.name));
  require_finite(weight, "the weight of site '" + site.name + "'");
  return weight.contiguous();
}

/// A safetensors file: the length of the header, the header, the tensors one after another. Written tensor by tensor,
/// so that no second model is held.
Blob safetensors(const Model& model, const Shard& shard) {
  Json header = {{"__metadata__", {{"format", "pt"}}}};
  std::uint64_t end = 0;
  for (const SiteSpec* site : shard) {
    const std::uint64_t begin = end;
    end += bytes_of(*site, model.weight_dtype());
    header[site->tensor_name] = {{"dtype", format_name(model.weight_dtype())},
                                 {"shape", site->published_shape.value_or(site->shape)},
                                 {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.resize((text.size() + header_alignment - 1) / header_alignment * header_alignment, ' ');
  const std::uint64_t length = text.size();
  BlobWriter file(DType::u8, {static_cast<std::int64_t>(sizeof(length) + text.size() + end)});
  file.write(&length, sizeof(length));
  file.write(text.data(), text.size());
  for (const SiteSpec* site : shard) {
    const Tensor weight = whole_weight(model, *site);
    file.write(weight.const_data_ptr(), weight.nbytes());
  }
  return file.finish();
}

std::string shard_name(std::size_t number, std::size_t count) {
  if (count == 1) return "model.safetensors";
  const auto padded = [](std::size_t value) {
    const std::string text = std::to_string(value);
    return std::string(text.size() < digits ? digits - text.size() : 0, '0') + text;
  };
  return "model-" + padded(number + 1) + "-of-" + padded(count) + ".safetensors";
}

Json index_of(const Model& model, const std::vector<Shard>& shards) {
  Json places = Json::object();
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    for (const SiteSpec* site : shards[i]) {
      places[site->tensor_name] = shard_name(i, shards.size());
      total += bytes_of(*site, model.weight_dtype());
    }
  }
  return {{"metadata", {{"total_size", total}}}, {"weight_map", places}};
}

}  // namespace

double usual_shard_bytes() {
  return default_shard_bytes;
}

Value hf(OpContext& context) {
  at::NoGradGuard guard;
  const Model model = folded(Model::from_field(context.input("model")));
  Files files{"hf", {}};
  for (const auto& [name, document] : published_files(model)) {
    files.files.emplace(name, as_file(document.dump(indentation) + "\n"));
  }
  const auto shards = shards_of(model, context.param<double>("shard_bytes"));
  for (std::size_t i = 0; i < shards.size(); ++i) {
    files.files.emplace(shard_name(i, shards.size()), safetensors(model, shards[i]));
    context.progress(static_cast<std::int64_t>(i) + 1, static_cast<std::int64_t>(shards.size()), "files");
  }
  if (shards.size() > 1) {
    files.files.emplace("model.safetensors.index.json", as_file(index_of(model, shards).dump(indentation) + "\n"));
  }
  double bytes = 0;
  for (const auto& [name, content] : files.files) bytes += static_cast<double>(content.size());
  Value value;
  value.fields["bytes"] =
      to_field(Scalar{bytes, static_cast<std::int64_t>(files.files.size()), {}, "B", Better::lower, {}});
  value.fields["files"] = to_field(files);
  return value;
}

}  // namespace colonnade::realize
