// Safetensors files as bytes, for tests that change them.
#pragma once

#include <cstring>
#include <functional>
#include <string>

#include "colonnade/json.h"

namespace colonnade {

/// A file of a header and data.
inline std::string safetensors_bytes(const std::string& header, const std::string& data = "") {
  const std::uint64_t length = header.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header + data;
}

/// A file with its header changed. What the header then says of places is looked up in the old data, with `more` behind
/// it, and laid out anew, so that the data is filled as the format demands; unless `as_is`, where it stays as it was.
inline std::string changed_safetensors(const std::string& bytes, const std::function<void(Json&)>& change,
                                       const std::string& more = "", bool as_is = false) {
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  Json header = Json::parse(bytes.substr(sizeof(length), length));
  const std::string data = bytes.substr(sizeof(length) + length) + more;
  change(header);
  if (as_is) return safetensors_bytes(header.dump(), data);
  std::string laid;
  for (auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    auto& offsets = entry["data_offsets"];
    const auto begin = offsets[0].get<std::size_t>(), size = offsets[1].get<std::size_t>() - begin;
    offsets = {laid.size(), laid.size() + size};
    laid += data.substr(begin, size);
  }
  return safetensors_bytes(header.dump(), laid);
}

}  // namespace colonnade
