#include "colonnade/tensor/safetensors.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <limits>
#include <set>

#include "colonnade/error.h"
#include "colonnade/json.h"

namespace colonnade {

namespace {

static_assert(std::endian::native == std::endian::little, "tensors are read as they lie in the file, little-endian");

constexpr std::uint64_t kLengthBytes = 8;
/// The format's own limit for a header.
constexpr std::uint64_t kLongestHeader = 100'000'000;
constexpr std::size_t kMostDimensions = 16;
/// Tensors hold lists, metadata holds texts.
constexpr int kDeepestHeader = 16;

const std::map<std::string, at::ScalarType>& known_types() {
  static const std::map<std::string, at::ScalarType> types = {
      {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf}, {"BF16", at::kBFloat16}, {"I64", at::kLong},
      {"I32", at::kInt},    {"I16", at::kShort}, {"I8", at::kChar},  {"U8", at::kByte},       {"BOOL", at::kBool}};
  return types;
}

[[noreturn]] void refuse(const std::string& path, const std::string& reason) {
  throw Error(ErrorKind::input, path + ": " + reason);
}

std::uint64_t file_size(std::ifstream& stream) {
  stream.seekg(0, std::ios::end);
  const auto size = static_cast<std::uint64_t>(stream.tellg());
  stream.seekg(0);
  return size;
}

Json read_header(const std::string& path, std::ifstream& stream, std::uint64_t size, std::uint64_t& data_start) {
  if (size < kLengthBytes) refuse(path, "not a safetensors file: it has " + std::to_string(size) + " bytes");
  unsigned char bytes[kLengthBytes];
  stream.read(reinterpret_cast<char*>(bytes), kLengthBytes);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes, kLengthBytes);
  if (length > kLongestHeader || length > size - kLengthBytes) {
    refuse(path, "not a safetensors file, or a truncated one: it announces a header of " + std::to_string(length) +
                     " bytes and has " + std::to_string(size - kLengthBytes) + " bytes after the announcement");
  }
  std::string text(length, '\0');
  if (!stream.read(text.data(), static_cast<std::streamsize>(length))) refuse(path, "its header cannot be read");
  std::set<std::string> names;
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kDeepestHeader) refuse(path, "its header is not a JSON object of tensors: it is nested too deeply");
    const bool is_name = event == Json::parse_event_t::key && depth == 1;
    if (is_name && !names.insert(parsed.get<std::string>()).second)
      refuse(path, "its header names " + parsed.dump() + " twice");
    return true;
  };
  Json header = Json::parse(text, check, false);
  if (!header.is_object()) refuse(path, "its header is not a JSON object");
  data_start = kLengthBytes + length;
  return header;
}

std::uint64_t natural(const Json& value, const std::string& path, const std::string& what) {
  if (!value.is_number_integer() || value < 0) refuse(path, what + " is " + value.dump() + ", expected a whole number");
  return value.get<std::uint64_t>();
}

/// Bytes of a tensor, or a refusal where the product leaves 64 bits.
std::uint64_t byte_count(const SafetensorsEntry& entry, const std::string& path, const std::string& what) {
  std::uint64_t bytes = c10::elementSize(entry.type);
  for (const std::int64_t extent : entry.shape) {
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes)) {
      refuse(path, what + " has the impossible shape " + shape_text(entry.shape));
    }
  }
  return bytes;
}

SafetensorsEntry read_entry(const std::string& path, const std::string& name, const Json& document,
                            std::uint64_t data_start, std::uint64_t size) {
  const std::string what = "tensor '" + name + "'";
  if (!document.is_object() || !document.contains("dtype") || !document.contains("shape") ||
      !document.contains("data_offsets")) {
    refuse(path, what + " lacks one of dtype, shape, data_offsets");
  }
  SafetensorsEntry entry;
  const Json& type = document["dtype"];
  const auto known = type.is_string() ? known_types().find(type.get<std::string>()) : known_types().end();
  if (known == known_types().end()) refuse(path, what + " has the type " + type.dump() + ", which is not known");
  entry.type = known->second;
  const Json& shape = document["shape"];
  if (!shape.is_array() || shape.size() > kMostDimensions) refuse(path, what + " has the shape " + shape.dump());
  for (const Json& extent : shape) {
    const std::uint64_t value = natural(extent, path, what + ": a dimension");
    if (value > std::numeric_limits<std::int64_t>::max()) refuse(path, what + " has the shape " + shape.dump());
    entry.shape.push_back(static_cast<std::int64_t>(value));
  }
  const Json& offsets = document["data_offsets"];
  constexpr std::size_t kEnds = 2;
  if (!offsets.is_array() || offsets.size() != kEnds) refuse(path, what + " has the data_offsets " + offsets.dump());
  const std::uint64_t begin = natural(offsets[0], path, what + ": an offset");
  const std::uint64_t end = natural(offsets[1], path, what + ": an offset");
  const std::uint64_t available = size - data_start;
  if (begin > end || end > available) {
    refuse(path, what + " lies at bytes " + std::to_string(begin) + " to " + std::to_string(end) +
                     ", but the file has " + std::to_string(available) + " bytes of data: it is truncated or damaged");
  }
  if (byte_count(entry, path, what) != end - begin) {
    refuse(path, what + " has " + std::to_string(end - begin) + " bytes, but " + type.get<std::string>() + " " +
                     shape_text(entry.shape) + " takes " + std::to_string(byte_count(entry, path, what)));
  }
  entry.begin = data_start + begin;
  entry.end = data_start + end;
  return entry;
}

/// What the format demands: no byte of the data belongs to two tensors, none to no one.
void require_filled(const SafetensorsFile& file, std::uint64_t data_start, std::uint64_t size) {
  std::vector<std::pair<std::string, const SafetensorsEntry*>> tensors;
  for (const auto& [name, entry] : file.tensors) tensors.emplace_back(name, &entry);
  std::stable_sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
  });
  std::uint64_t filled = data_start;
  std::string before, hole;
  for (const auto& [name, entry] : tensors) {
    if (entry->begin < filled) {
      refuse(file.path, "tensors '" + before + "' and '" + name + "' lie on the same bytes: it is damaged");
    }
    if (entry->begin > filled && hole.empty()) {
      hole = std::to_string(entry->begin - filled) + " bytes before tensor '" + name + "'";
    }
    filled = entry->end;
    if (entry->end > entry->begin) before = name;
  }
  if (!hole.empty()) refuse(file.path, hole + " belong to no tensor: it is damaged");
  if (filled == size) return;
  refuse(file.path, std::to_string(size - filled) + " bytes at its end belong to no tensor: it is damaged");
}

}  // namespace

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

SafetensorsFile open_safetensors(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) refuse(path, std::string("cannot be opened: ") + std::strerror(errno));
  const std::uint64_t size = file_size(stream);
  if (!stream) refuse(path, "cannot be read");
  std::uint64_t data_start = 0;
  const Json header = read_header(path, stream, size, data_start);
  SafetensorsFile file;
  file.path = path;
  for (const auto& [name, document] : header.items()) {
    if (name != "__metadata__") {
      file.tensors.emplace(name, read_entry(path, name, document, data_start, size));
      continue;
    }
    if (!document.is_object()) refuse(path, "its metadata is not an object");
    for (const auto& [key, value] : document.items()) {
      if (value.is_string()) file.metadata.emplace(key, value.get<std::string>());
    }
  }
  require_filled(file, data_start, size);
  return file;
}

Tensor read_tensor(const SafetensorsFile& file, const std::string& name) {
  const auto found = file.tensors.find(name);
  if (found == file.tensors.end()) {
    std::vector<std::string> names;
    for (const auto& [key, entry] : file.tensors) names.push_back(key);
    refuse(file.path, "has no tensor '" + name + "'" + did_you_mean(name, names));
  }
  const SafetensorsEntry& entry = found->second;
  Tensor tensor = at::empty(entry.shape, at::TensorOptions().dtype(entry.type));
  std::ifstream stream(file.path, std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(entry.begin));
  const auto bytes = static_cast<std::streamsize>(entry.end - entry.begin);
  if (bytes > 0 && !stream.read(static_cast<char*>(tensor.mutable_data_ptr()), bytes)) {
    refuse(file.path, "tensor '" + name + "' cannot be read: the file has changed or is damaged");
  }
  return tensor;
}

}  // namespace colonnade
