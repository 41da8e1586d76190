// Weights as people publish them: safetensors, PyTorch's own files, either of them in shards.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "colonnade/tensor/tensor.h"

namespace colonnade {

struct WeightEntry {
  at::ScalarType type = at::kFloat;
  std::vector<std::int64_t> shape;
};

/// One file, its entries checked: every tensor lies within it.
class WeightFile {
 public:
  virtual ~WeightFile() = default;
  const std::string& path() const { return path_; }
  const std::map<std::string, WeightEntry>& tensors() const { return tensors_; }
  /// The tensor in memory of its own, contiguous. Throws Error(input) if it can no longer be read.
  virtual Tensor read(const std::string& name) const = 0;

 protected:
  explicit WeightFile(std::string path) : path_(std::move(path)) {}
  std::string path_;
  std::map<std::string, WeightEntry> tensors_;
};

/// safetensors by the name's end, else PyTorch's archive of a pickled dictionary of tensors, of which nothing is executed: a
/// pickle that asks for anything but tensors is refused by what it asks for. Throws Error(input) naming the file, and the tensor
/// where one is to blame.
std::unique_ptr<WeightFile> open_weight_file(const std::string& path);

/// The weights of a model in one file or several. Copies share the files.
class WeightFiles {
 public:
  /// `path`: a file, an index of shards (NAME.index.json), or a folder that holds one, looked for in this order:
  /// model.safetensors, model.safetensors.index.json, pytorch_model.bin, pytorch_model.bin.index.json.
  explicit WeightFiles(const std::string& path);

  /// The file, or the index.
  const std::string& path() const { return path_; }
  const std::map<std::string, WeightEntry>& tensors() const { return tensors_; }
  bool has(const std::string& name) const { return tensors_.contains(name); }
  /// The file that has the tensor.
  const std::string& file_of(const std::string& name) const;
  Tensor read(const std::string& name) const;

  /// Refuses with the reason, naming the file that has the tensor.
  [[noreturn]] void refuse(const std::string& name, const std::string& reason) const;
  /// The shape of a tensor that there must be, of so many dimensions, none of them empty.
  const std::vector<std::int64_t>& shape(const std::string& name, std::size_t dimensions) const;
  /// One more than the highest number behind `prefix` in a tensor's name ("backbone.layers."); none may be missing.
  std::int64_t layers(const std::string& prefix) const;
  /// Throws unless the tensor is there, has this shape and a floating type.
  void require(const std::string& name, const std::vector<std::int64_t>& shape) const;
  /// Throws unless the tensor is there and has a floating type, which it returns.
  DType floating_type(const std::string& name) const;
  /// A required tensor in another floating type. Throws naming file and tensor if it holds a NaN, an infinity, or a number
  /// too large for that type.
  Tensor read_as(const std::string& name, const std::vector<std::int64_t>& shape, at::ScalarType type) const;
  /// Throws naming the first tensor that is not in `used`.
  void require_no_others(const std::set<std::string>& used) const;
  /// config.json beside the weights, where a folder was given and has one; else "".
  const std::string& config() const { return config_; }

 private:
  void add(std::shared_ptr<const WeightFile> file);
  void read_index(const std::string& index);

  std::string path_;
  std::string config_;
  std::map<std::string, WeightEntry> tensors_;
  std::map<std::string, std::shared_ptr<const WeightFile>> files_;  // by tensor
};

}  // namespace colonnade
