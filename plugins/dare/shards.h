// The weights of a model as they lie in safetensors files, whatever family it is of.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "colonnade/tensor/safetensors.h"

namespace colonnade::dare {

/// One open file. Its bytes may be read by several threads at once.
class Shard {
 public:
  explicit Shard(const std::string& path);
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  const SafetensorsFile& header() const { return header_; }
  /// In the order in which they lie in the file.
  const std::vector<std::string>& tensors() const { return order_; }
  /// Where the first tensor begins, and the size of the file.
  std::uint64_t data_start() const { return data_start_; }
  std::uint64_t size() const { return size_; }
  /// Bytes of the file, mapped: the file must keep its size while it is read.
  const std::byte* at(std::uint64_t offset) const { return bytes_ + offset; }
  /// Tells the system that these bytes are wanted now: cheaper than being interrupted for every page of them.
  void expect(std::uint64_t offset, std::uint64_t count) const;

 private:
  SafetensorsFile header_;
  std::vector<std::string> order_;
  std::uint64_t data_start_ = 0, size_ = 0;
  const std::byte* bytes_ = nullptr;
};

/// A file of weights, or a folder of them with what stands beside them.
struct Shards {
  struct Place {
    const Shard* file = nullptr;
    const SafetensorsEntry* entry = nullptr;
  };

  std::string path;
  std::map<std::string, std::unique_ptr<Shard>> weights;  // by the file's name; a single file is model.safetensors
  std::map<std::string, std::string> others;              // configuration, vocabulary: name and path
  std::map<std::string, Place> tensors;
};

/// Throws Error(input) naming what is there but isn't weights, and tensors that two files have.
Shards open_shards(const std::string& path);

}  // namespace colonnade::dare
