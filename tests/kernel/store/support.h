#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "colonnade/value.h"
#include "kernel/store/store.h"

namespace colonnade::host::testing {

// A folder that goes when the test ends; in memory where it can be, since tests that damage a file in every byte write
// thousands.
class ScratchFolder {
 public:
  ScratchFolder() {
    const std::filesystem::path memory = "/dev/shm";
    const bool usable = ::access(memory.c_str(), W_OK) == 0;
    std::string name = ((usable ? memory : std::filesystem::temp_directory_path()) / "colonnade-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot create " + name);
    path_ = name;
  }
  ~ScratchFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::string read_bytes(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline void write_bytes(const std::filesystem::path& file, const std::string& bytes) {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out << bytes;
}

inline std::vector<std::filesystem::path> files_below(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  if (!std::filesystem::exists(folder)) return files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

inline Value small_value(double number) {
  Value value;
  value.fields["result"] = to_field(Scalar{number, 1, {}, "", Better::higher, {}});
  value.fields["vector"] = tensor_field(Blob::of<float>(DType::f32, {1.0f, static_cast<float>(number), -0.0f}));
  return value;
}

// One tensor of `elements` floats, too large for a trace.
inline Value large_value(std::size_t elements, float start) {
  std::vector<float> numbers(elements);
  for (std::size_t i = 0; i < elements; ++i) numbers[i] = start + static_cast<float>(i);
  Value value;
  value.fields["weights"] = tensor_field(Blob::of<float>(DType::f32, numbers));
  return value;
}

inline Trace trace_of(Store& store, const std::string& name, const Value& value,
                      const std::string& op_class = "bitwise") {
  Trace trace;
  trace.key = hash_bytes(name);
  trace.op = "test/" + op_class;
  trace.op_class = op_class;
  trace.key_record = {{"op", trace.op}, {"params", {{"name", name}}}};
  trace.manifest = store.put(value);
  trace.seconds = 0.5;
  trace.peak_memory = 1000;
  trace.finished = std::time(nullptr);
  return trace;
}

inline bool same(const Value& a, const Value& b) {
  if (a.fields.size() != b.fields.size()) return false;
  for (const auto& [name, field] : a.fields) {
    if (!b.fields.contains(name) || b.fields.at(name).content_hash() != field.content_hash()) return false;
  }
  return true;
}

}  // namespace colonnade::host::testing
