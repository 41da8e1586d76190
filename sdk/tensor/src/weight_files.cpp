#include "colonnade/tensor/weight_files.h"

#include <ATen/Functions.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <set>

#include "colonnade/error.h"
#include "colonnade/json.h"
#include "colonnade/tensor/safetensors.h"
#include "pytorch_file.h"

namespace colonnade {
namespace {

namespace fs = std::filesystem;

constexpr std::array kUsualNames = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                                    "pytorch_model.bin.index.json"};

[[noreturn]] void refuse(const std::string& path, const std::string& reason) {
  throw Error(ErrorKind::input, path + ": " + reason);
}

class SafetensorsWeights final : public WeightFile {
 public:
  explicit SafetensorsWeights(const std::string& path) : WeightFile(path), file_(open_safetensors(path)) {
    for (const auto& [name, entry] : file_.tensors) tensors_.emplace(name, WeightEntry{entry.type, entry.shape});
  }
  Tensor read(const std::string& name) const override { return read_tensor(file_, name); }

 private:
  SafetensorsFile file_;
};

std::string weights_in(const fs::path& folder) {
  std::string names;
  for (const char* name : kUsualNames) {
    if (fs::exists(folder / name)) return (folder / name).string();
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  refuse(folder.string(), "the folder has none of " + names);
}

Json read_index_document(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) refuse(path, "cannot be opened");
  constexpr int kDeepest = 16;
  const auto check = [&](int depth, Json::parse_event_t, Json&) {
    if (depth > kDeepest) refuse(path, "is nested more than " + std::to_string(kDeepest) + " deep");
    return true;
  };
  Json document = Json::parse(stream, check, false);
  if (!document.is_object() || !document.contains("weight_map") || !document.at("weight_map").is_object()) {
    refuse(path, "is no index of shards: it has no object 'weight_map'");
  }
  return document.at("weight_map");
}

}  // namespace

std::unique_ptr<WeightFile> open_weight_file(const std::string& path) {
  if (fs::path(path).extension() == ".safetensors") return std::make_unique<SafetensorsWeights>(path);
  return open_pytorch_file(path);
}

WeightFiles::WeightFiles(const std::string& path) : path_(path) {
  const bool folder = fs::is_directory(path);
  if (folder) {
    path_ = weights_in(path);
    if (const fs::path config = fs::path(path) / "config.json"; fs::exists(config)) config_ = config.string();
  }
  if (path_.ends_with(".json")) {
    // Of a single file only its own bytes stand in a result's key: shards that changed beside it would not count.
    if (!folder)
      colonnade::refuse(path, "is an index or a configuration; give the folder that it and the weights lie in");
    read_index(path_);
  } else {
    add(open_weight_file(path_));
  }
}

void WeightFiles::add(std::shared_ptr<const WeightFile> file) {
  for (const auto& [name, entry] : file->tensors()) {
    const auto [place, fresh] = files_.emplace(name, file);
    if (!fresh)
      colonnade::refuse(file->path(), "has tensor '" + name + "', which " + place->second->path() + " has too");
    tensors_.emplace(name, entry);
  }
}

void WeightFiles::read_index(const std::string& index) {
  const Json map = read_index_document(index);
  std::set<std::string> shards;
  for (const auto& [name, shard] : map.items()) {
    if (!shard.is_string() || fs::path(shard.get<std::string>()).filename() != shard.get<std::string>() ||
        shard.get<std::string>().starts_with('.')) {
      colonnade::refuse(
          index, "tensor '" + name + "' lies in " + shard.dump() + ", expected the name of a file beside the index");
    }
    shards.insert(shard.get<std::string>());
  }
  for (const std::string& shard : shards) add(open_weight_file((fs::path(index).parent_path() / shard).string()));
  for (const auto& [name, shard] : map.items()) {
    const auto found = files_.find(name);
    const std::string expected = shard.get<std::string>();
    if (found != files_.end() && fs::path(found->second->path()).filename() == expected) continue;
    colonnade::refuse(index, "says that tensor '" + name + "' lies in " + expected + ", which does not have it");
  }
}

const std::string& WeightFiles::file_of(const std::string& name) const {
  const auto found = files_.find(name);
  return found == files_.end() ? path_ : found->second->path();
}

Tensor WeightFiles::read(const std::string& name) const {
  const auto found = files_.find(name);
  if (found == files_.end()) colonnade::refuse(path_, "has no tensor '" + name + "'");
  return found->second->read(name);
}

void WeightFiles::refuse(const std::string& name, const std::string& reason) const {
  colonnade::refuse(file_of(name), "tensor '" + name + "' " + reason);
}

const std::vector<std::int64_t>& WeightFiles::shape(const std::string& name, std::size_t dimensions) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    std::vector<std::string> names;
    for (const auto& [key, entry] : tensors_) names.push_back(key);
    colonnade::refuse(path_, "has no tensor '" + name + "', which every such model has" + did_you_mean(name, names));
  }
  const auto& shape = found->second.shape;
  if (shape.size() != dimensions) {
    refuse(name, "has the shape " + shape_text(shape) + ", expected " + std::to_string(dimensions) + " dimensions");
  }
  for (const std::int64_t extent : shape) {
    if (extent < 1) refuse(name, "is empty: " + shape_text(shape));
  }
  return shape;
}

std::int64_t WeightFiles::layers(const std::string& prefix) const {
  std::set<std::string> numbers;
  for (const auto& [name, entry] : tensors_) {
    if (!name.starts_with(prefix)) continue;
    numbers.insert(name.substr(prefix.size(), name.find('.', prefix.size()) - prefix.size()));
  }
  if (numbers.empty()) colonnade::refuse(path_, "has no tensor '" + prefix + "0...': no layer at all");
  for (std::size_t layer = 0; layer < numbers.size(); ++layer) {
    if (numbers.contains(std::to_string(layer))) continue;
    colonnade::refuse(path_, "has " + std::to_string(numbers.size()) + " layers under '" + prefix +
                                 "', but none with the number " + std::to_string(layer));
  }
  return static_cast<std::int64_t>(numbers.size());
}

void WeightFiles::require(const std::string& name, const std::vector<std::int64_t>& shape) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    colonnade::refuse(path_, "has no tensor '" + name + "', which its other tensors ask for");
  }
  if (found->second.shape != shape) {
    refuse(name, "has the shape " + shape_text(found->second.shape) + ", expected " + shape_text(shape));
  }
  floating_type(name);
}

DType WeightFiles::floating_type(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) colonnade::refuse(path_, "has no tensor '" + name + "'");
  if (!c10::isFloatingType(found->second.type)) {
    refuse(name, std::string("holds ") + c10::toString(found->second.type) + ", expected a floating type");
  }
  return dtype_of(found->second.type);
}

Tensor WeightFiles::read_as(const std::string& name, const std::vector<std::int64_t>& shape,
                            at::ScalarType type) const {
  require(name, shape);
  const Tensor stored = read(name);
  require_finite(stored, file_of(name) + ", tensor '" + name + "'");
  Tensor weight = stored.to(type);
  if (weight.element_size() < stored.element_size() && !at::isfinite(weight).all().item<bool>()) {
    refuse(name, "holds numbers that " + std::string(dtype_name(dtype_of(type))) +
                     " cannot hold; bf16 and f32 reach 3e38");
  }
  return weight;
}

void WeightFiles::require_no_others(const std::set<std::string>& used) const {
  for (const auto& [name, entry] : tensors_) {
    if (used.contains(name)) continue;
    refuse(name, "has no place in a model of these sizes" + did_you_mean(name, {used.begin(), used.end()}));
  }
}

}  // namespace colonnade
