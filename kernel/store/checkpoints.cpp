#include "kernel/store/checkpoints.h"

#include <fcntl.h>

#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "colonnade/encode.h"
#include "colonnade/error.h"
#include "kernel/store/files.h"

namespace colonnade::host {

namespace {

constexpr std::string_view magic = "CLNCHKP1";
constexpr std::size_t alignment = 64;

struct CheckpointHeader {
  char magic[8];
  Hash digest;
  Hash key;
  std::uint64_t description_size;
};
static_assert(sizeof(CheckpointHeader) == 80 && std::is_trivially_copyable_v<CheckpointHeader>);
constexpr std::size_t digested_from = 40;

std::size_t aligned(std::size_t size) {
  return (size + alignment - 1) / alignment * alignment;
}

// Tensors' offsets count from the end of the description, aligned.
Json describe(const Value& state, std::vector<Blob>& blobs) {
  std::size_t offset = 0;
  Json fields = Json::object();
  for (const auto& [name, field] : state.fields) {
    Json tensors = Json::object();
    for (const auto& [tensor, blob] : field.tensors) {
      tensors[tensor] = Json::array({std::string(dtype_name(blob.dtype())), blob.shape(), offset, blob.size()});
      blobs.push_back(blob);
      offset += aligned(blob.size());
    }
    fields[name] = {
        {"type", field.type}, {"document", field.document}, {"tensors", tensors}, {"carries", field.carries}};
  }
  return fields;
}

Blob blob_at(const Json& place, std::string_view data, const std::shared_ptr<const Mapping>& owner) {
  const DType dtype = dtype_from_name(place.at(0).get_ref<const std::string&>());
  auto shape = place.at(1).get<std::vector<std::int64_t>>();
  const auto offset = place.at(2).get<std::uint64_t>();
  const auto size = place.at(3).get<std::uint64_t>();
  std::uint64_t bytes = dtype_size(dtype);
  for (const std::int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes)) {
      throw Error(ErrorKind::input, "a tensor's shape is impossible");
    }
  }
  if (bytes != size || offset > data.size() || data.size() - offset < size) {
    throw Error(ErrorKind::input, "a tensor lies outside the checkpoint");
  }
  return Blob::share(dtype, std::move(shape), data.data() + offset, owner);
}

Value value_from(const Json& description, std::string_view data, const std::shared_ptr<const Mapping>& owner) {
  Value state;
  for (const auto& [name, document] : description.items()) {
    Field& field = state.fields[name];
    field.type = document.at("type").get<std::string>();
    field.document = document.at("document");
    field.carries = document.at("carries").get<std::set<std::string>>();
    for (const auto& [tensor, place] : document.at("tensors").items())
      field.tensors[tensor] = blob_at(place, data, owner);
  }
  return state;
}

}  // namespace

void write_checkpoint(const std::filesystem::path& file, const std::filesystem::path& temporary_folder, const Hash& key,
                      const Value& state) {
  std::vector<Blob> blobs;
  std::string description = encode(describe(state, blobs));
  CheckpointHeader header{{}, {}, key, description.size()};
  std::memcpy(header.magic, magic.data(), sizeof(header.magic));
  description.resize(aligned(sizeof(header) + description.size()) - sizeof(header), '\0');
  const std::string padding(alignment, '\0');
  const auto padding_of = [&](const Blob& blob) {
    return std::string_view(padding).substr(0, aligned(blob.size()) - blob.size());
  };

  Sha256 sha;
  sha.update(reinterpret_cast<const char*>(&header) + digested_from, sizeof(header) - digested_from);
  sha.update(description);
  for (const Blob& blob : blobs) {
    sha.update(blob.data(), blob.size());
    sha.update(padding_of(blob));
  }
  header.digest = sha.finish();

  TemporaryFile out(temporary_folder);
  out.write(&header, sizeof(header));
  out.write(description);
  for (const Blob& blob : blobs) {
    out.write(blob.data(), blob.size());
    out.write(padding_of(blob));
  }
  out.sync();
  out.publish(file);
  sync_folder(file.parent_path());
}

std::optional<Value> read_checkpoint(const std::filesystem::path& file, const Hash& key,
                                     const std::shared_ptr<MappedRanges>& ranges) {
  const FileDescriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (!descriptor.is_open() || ::fstat(descriptor.number(), &status) != 0) return std::nullopt;
  const auto size = static_cast<std::size_t>(status.st_size);
  CheckpointHeader header;
  if (size < sizeof(header)) return std::nullopt;
  const std::shared_ptr<const Mapping> owner = Mapping::of_file(descriptor.number(), size, ranges);
  if (!owner) return std::nullopt;
  std::memcpy(&header, owner->data(), sizeof(header));
  if (std::string_view(header.magic, sizeof(header.magic)) != magic || header.key != key) return std::nullopt;
  if (hash_bytes(owner->bytes().substr(digested_from)) != header.digest) return std::nullopt;
  if (header.description_size > size - sizeof(header)) return std::nullopt;
  const std::size_t data = aligned(sizeof(header) + header.description_size);
  if (data > size) return std::nullopt;
  try {
    const Json description = decode(owner->bytes().substr(sizeof(header), header.description_size));
    return value_from(description, owner->bytes().substr(data), owner);
  } catch (const Error&) {
    return std::nullopt;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

}  // namespace colonnade::host
