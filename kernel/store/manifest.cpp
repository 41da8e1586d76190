#include <fmt/format.h>

#include "colonnade/error.h"
#include "kernel/store/store.h"

namespace colonnade::host {

namespace {

Json to_json(const BlobRef& blob) {
  return Json::array({blob.hash.hex(), std::string(dtype_name(blob.dtype)), blob.shape, blob.bytes});
}

BlobRef blob_ref_from_json(const Json& document) {
  BlobRef blob;
  blob.hash = Hash::from_hex(document.at(0).get_ref<const std::string&>());
  blob.dtype = dtype_from_name(document.at(1).get_ref<const std::string&>());
  blob.shape = document.at(2).get<std::vector<std::int64_t>>();
  blob.bytes = document.at(3).get<std::uint64_t>();
  std::uint64_t elements = 1;
  for (const std::int64_t extent : blob.shape) {
    if (extent < 0 || __builtin_mul_overflow(elements, static_cast<std::uint64_t>(extent), &elements)) {
      throw Error(ErrorKind::input, "a tensor's shape is impossible");
    }
  }
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(elements, dtype_size(blob.dtype), &bytes) || bytes != blob.bytes) {
    throw Error(ErrorKind::input, "a tensor's bytes do not agree with its shape");
  }
  return blob;
}

Json to_json(const FieldManifest& field) {
  Json result = {{"type", field.type}, {"content", field.content.hex()}};
  if (field.document_blob) {
    result["document_blob"] = to_json(*field.document_blob);
  } else {
    result["document"] = field.document;
  }
  if (!field.tensors.empty()) {
    Json& tensors = result["tensors"] = Json::object();
    for (const auto& [name, blob] : field.tensors) tensors[name] = to_json(blob);
  }
  if (!field.carries.empty()) result["carries"] = field.carries;
  return result;
}

FieldManifest field_manifest_from_json(const Json& document) {
  FieldManifest field;
  field.type = document.at("type").get<std::string>();
  field.content = Hash::from_hex(document.at("content").get_ref<const std::string&>());
  if (document.contains("document_blob")) {
    field.document_blob = blob_ref_from_json(document.at("document_blob"));
  } else {
    field.document = document.at("document");
  }
  if (document.contains("tensors")) {
    for (const auto& [name, blob] : document.at("tensors").items()) field.tensors[name] = blob_ref_from_json(blob);
  }
  if (document.contains("carries")) field.carries = document.at("carries").get<std::set<std::string>>();
  return field;
}

}  // namespace

std::uint64_t Manifest::bytes() const {
  std::map<Hash, std::uint64_t> sizes;
  for (const auto& [name, field] : fields) {
    if (field.document_blob) sizes[field.document_blob->hash] = field.document_blob->bytes;
    for (const auto& [tensor, blob] : field.tensors) sizes[blob.hash] = blob.bytes;
  }
  std::uint64_t total = 0;
  for (const auto& [hash, size] : sizes) total += size;
  return total;
}

Json to_json(const Manifest& manifest) {
  Json fields = Json::object();
  for (const auto& [name, field] : manifest.fields) fields[name] = to_json(field);
  Json result = {{"fields", std::move(fields)}};
  if (!manifest.inline_blobs.empty()) {
    Json& blobs = result["inline"] = Json::object();
    for (const auto& [hash, bytes] : manifest.inline_blobs) {
      blobs[hash.hex()] = Json::binary(std::vector<std::uint8_t>(bytes.begin(), bytes.end()));
    }
  }
  return result;
}

Manifest manifest_from_json(const Json& document) {
  try {
    Manifest manifest;
    for (const auto& [name, field] : document.at("fields").items()) {
      manifest.fields[name] = field_manifest_from_json(field);
    }
    if (document.contains("inline")) {
      for (const auto& [hash, bytes] : document.at("inline").items()) {
        const auto& binary = bytes.get_binary();
        manifest.inline_blobs[Hash::from_hex(hash)] = std::string(binary.begin(), binary.end());
      }
    }
    return manifest;
  } catch (const Json::exception& exception) {
    throw Error(ErrorKind::input, fmt::format("not a value's manifest: {}", exception.what()));
  }
}

}  // namespace colonnade::host
