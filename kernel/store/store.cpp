#include "kernel/store/store.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "colonnade/encode.h"
#include "colonnade/error.h"
#include "kernel/store/blob_store.h"
#include "kernel/store/checkpoints.h"
#include "kernel/store/trace_index.h"

namespace colonnade::host {

namespace {

constexpr std::uint64_t inline_limit = 4096;  // of a whole value, documents and tensors
constexpr std::string_view format_text = "colonnade-store 2\n";
// A checkpoint whose op never finished may belong to a run that will go on; after this long it is given up.
constexpr double unfinished_checkpoint_seconds = 30.0 * 24 * 3600;

Blob document_blob(const std::string& encoded) {
  return Blob::copy(DType::u8, {static_cast<std::int64_t>(encoded.size())}, encoded.data());
}

BlobRef ref_of(const Blob& blob) {
  return {blob.content_hash(), blob.dtype(), blob.shape(), blob.size()};
}

bool same_contents(const Manifest& a, const Manifest& b) {
  if (a.fields.size() != b.fields.size()) return false;
  for (const auto& [name, field] : a.fields) {
    const auto other = b.fields.find(name);
    if (other == b.fields.end() || other->second.content != field.content) return false;
  }
  return true;
}

std::vector<std::string> differing_fields(const Manifest& a, const Manifest& b) {
  std::set<std::string> names;
  for (const auto& [name, field] : a.fields) names.insert(name);
  for (const auto& [name, field] : b.fields) names.insert(name);
  std::vector<std::string> differing;
  for (const std::string& name : names) {
    const auto in_a = a.fields.find(name), in_b = b.fields.find(name);
    const bool same = in_a != a.fields.end() && in_b != b.fields.end() && in_a->second.content == in_b->second.content;
    if (!same) differing.push_back(name);
  }
  return differing;
}

template <typename Visit>
void for_each_blob(const Manifest& manifest, Visit visit) {
  for (const auto& [name, field] : manifest.fields) {
    if (field.document_blob) visit(*field.document_blob);
    for (const auto& [tensor, blob] : field.tensors) visit(blob);
  }
}

// Whether a value that lies in its trace is what it is named after. (Of larger ones only the blobs count, in their
// files.)
bool is_sound(const Manifest& manifest) {
  for (const auto& [name, field] : manifest.fields) {
    if (field.document_blob) continue;
    Field whole{field.type, field.document, {}, {}};
    bool all_inline = true;
    for (const auto& [tensor, blob] : field.tensors) {
      const auto bytes = manifest.inline_blobs.find(blob.hash);
      all_inline = all_inline && bytes != manifest.inline_blobs.end();
      if (!all_inline) break;
      if (bytes->second.size() != blob.bytes) return false;
      whole.tensors[tensor] = Blob::copy(blob.dtype, blob.shape, bytes->second.data());
    }
    if (all_inline && whole.content_hash() != field.content) return false;
  }
  return true;
}

class FileStore final : public Store {
 public:
  FileStore(std::filesystem::path folder, Role role)
      : folder_(prepare(std::move(folder), role)),
        role_(role),
        blobs_(folder_),
        traces_(folder_ / "traces", folder_ / "tmp") {}

  const std::filesystem::path& folder() const override { return folder_; }

  Manifest put(const Value& value, Durability durability) override;
  std::unique_ptr<BlobSink> sink(DType dtype, const std::vector<std::int64_t>& shape) override {
    return blobs_.sink(dtype, shape);
  }
  Field get(const FieldManifest& field, const Manifest& whole) override;
  bool has_blobs(const Manifest& manifest) const override;
  bool is_mapped(const void* address) const override {
    return blobs_.ranges()->contains(reinterpret_cast<std::uintptr_t>(address));
  }

  const Trace* find(const Hash& key) const override;
  const Trace* find_even_without_blobs(const Hash& key) const override {
    if (const Trace* trace = find(key)) return trace;
    const std::vector<const Trace*> traces = traces_.with_key(key);
    return traces.empty() ? nullptr : traces.front();
  }
  std::vector<const Trace*> traces_of(const std::string& op) const override { return traces_.of_op(op); }
  std::optional<Nondeterminism> add(Trace trace) override;
  void commit() override { traces_.commit(); }
  void refresh() override { traces_.refresh(); }
  void clear_abandoned() override { remove_abandoned_files(folder_ / "tmp"); }

  void save_checkpoint(const Hash& key, const Value& state) override {
    write_checkpoint(checkpoint_file(key), folder_ / "tmp", key, state);
  }
  std::optional<Value> load_checkpoint(const Hash& key) override {
    return read_checkpoint(checkpoint_file(key), key, blobs_.ranges());
  }
  void drop_checkpoint(const Hash& key) override {
    const std::filesystem::path file = checkpoint_file(key);
    if (::unlink(file.c_str()) != 0 && errno != ENOENT) throw_file_error("remove", file, errno);
  }

  Garbage collect(const std::set<Hash>& kept_keys, bool dry_run, double grace_seconds, bool resumable) override;
  std::vector<Hash> verify() override { return blobs_.verify(); }

 private:
  static std::filesystem::path prepare(std::filesystem::path folder, Role role);
  std::filesystem::path checkpoint_file(const Hash& key) const { return folder_ / "checkpoints" / key.hex(); }
  Blob get_blob(const BlobRef& blob, const Manifest& whole);
  void collect_blobs(const std::vector<const Trace*>& kept, bool dry_run, double grace_seconds, Garbage& garbage);
  void collect_checkpoints(bool dry_run, double grace_seconds, bool resumable, Garbage& garbage);

  std::filesystem::path folder_;
  Role role_;
  BlobStore blobs_;
  TraceIndex traces_;
};

std::filesystem::path FileStore::prepare(std::filesystem::path folder, Role role) {
  folder = std::filesystem::absolute(folder).lexically_normal();
  const std::filesystem::path format_file = folder / "format";
  if (role != Role::reader) {
    for (const char* part : {"blobs", "traces", "checkpoints", "tmp"}) make_folder(folder / part);
  }
  std::optional<std::string> format = read_file_if_there(format_file);
  if (!format && role != Role::reader) write_file_atomically(format_file, *(format = format_text));
  if (format && *format != format_text) {
    throw Error(
        ErrorKind::environment,
        fmt::format("{} says '{}'; this version of Colonnade reads '{}': use the version that wrote the store, or "
                    "move the store away",
                    format_file.string(), format->substr(0, format->find('\n')),
                    format_text.substr(0, format_text.size() - 1)));
  }
  if (role == Role::coordinator) remove_abandoned_files(folder / "tmp");
  return folder;
}

Manifest FileStore::put(const Value& value, Durability durability) {
  Manifest manifest;
  std::map<Hash, Blob> blobs;
  std::uint64_t documents = 0;
  for (const auto& [name, field] : value.fields) {
    FieldManifest& stored = manifest.fields[name];
    stored.type = field.type;
    stored.content = field.content_hash();
    stored.carries = field.carries;
    const std::string encoded = encode(field.document);
    if (encoded.size() >= inline_limit) {
      const Blob blob = document_blob(encoded);
      stored.document_blob = ref_of(blob);
      blobs.emplace(stored.document_blob->hash, blob);
    } else {
      stored.document = field.document;
      documents += encoded.size();
    }
    for (const auto& [tensor, blob] : field.tensors) {
      stored.tensors[tensor] = ref_of(blob);
      blobs.emplace(blob.content_hash(), blob);
    }
    blobs_.mark_sound(stored.content);
  }
  if (documents + manifest.bytes() >= inline_limit) {
    blobs_.put(blobs, durability);
    return manifest;
  }
  for (const auto& [hash, blob] : blobs) {
    manifest.inline_blobs[hash] = std::string(reinterpret_cast<const char*>(blob.data()), blob.size());
    blobs_.mark_sound(hash);
  }
  return manifest;
}

Blob FileStore::get_blob(const BlobRef& blob, const Manifest& whole) {
  const auto bytes = whole.inline_blobs.find(blob.hash);
  return bytes == whole.inline_blobs.end() ? blobs_.get(blob) : blobs_.get_inline(blob, bytes->second);
}

Field FileStore::get(const FieldManifest& field, const Manifest& whole) {
  Field result;
  result.type = field.type;
  result.carries = field.carries;
  if (field.document_blob) {
    const Blob encoded = get_blob(*field.document_blob, whole);
    result.document = decode({reinterpret_cast<const char*>(encoded.data()), encoded.size()});
  } else {
    result.document = field.document;
  }
  for (const auto& [name, blob] : field.tensors) result.tensors[name] = get_blob(blob, whole);
  if (result.content_hash() == field.content) return result;
  blobs_.mark_damaged(field.content);
  throw DamagedBlob(field.content,
                    fmt::format("the field {} of type {} in its trace is damaged: its content is not what it "
                                "is named after",
                                field.content.short_hex(), field.type));
}

bool FileStore::has_blobs(const Manifest& manifest) const {
  for (const auto& [name, field] : manifest.fields) {
    if (blobs_.is_damaged(field.content)) return false;
  }
  bool all = true;
  for_each_blob(manifest, [&](const BlobRef& blob) {
    if (!all) return;
    all = manifest.inline_blobs.contains(blob.hash) ? !blobs_.is_damaged(blob.hash) : blobs_.has(blob.hash);
  });
  return all;
}

const Trace* FileStore::find(const Hash& key) const {
  const std::vector<const Trace*> traces = traces_.with_key(key);
  if (traces.empty()) return nullptr;
  const Trace& first = *traces.front();
  if (first.op_class != "bitwise") {
    for (const Trace* trace : traces) {
      if (has_blobs(trace->manifest)) return trace;
    }
    return nullptr;
  }
  // A later record with the same contents was written because an earlier one had proved damaged.
  for (auto trace = traces.rbegin(); trace != traces.rend(); ++trace) {
    if (same_contents((*trace)->manifest, first.manifest) && has_blobs((*trace)->manifest)) return *trace;
  }
  return nullptr;
}

std::optional<Nondeterminism> FileStore::add(Trace trace) {
  if (role_ != Role::coordinator) throw Error(ErrorKind::environment, "only a coordinator adds traces to a store");
  const std::vector<const Trace*> there = traces_.with_key(trace.key);
  if (there.empty()) {
    traces_.add(std::move(trace));
    return std::nullopt;
  }
  const Trace& first = *there.front();
  if (first.op_class == "bitwise" && !same_contents(first.manifest, trace.manifest)) {
    return Nondeterminism{trace.key, trace.op, differing_fields(first.manifest, trace.manifest)};
  }
  const Trace* found = find(trace.key);
  if (found == nullptr || !is_sound(found->manifest)) traces_.add(std::move(trace));
  return std::nullopt;
}

Store::Garbage FileStore::collect(const std::set<Hash>& kept_keys, bool dry_run, double grace_seconds, bool resumable) {
  const std::time_t young = std::time(nullptr) - static_cast<std::time_t>(grace_seconds);
  const auto keep = [&](const Trace& trace) {
    return kept_keys.contains(trace.key) || trace.op_class == "measured" ||
           (grace_seconds > 0 && trace.finished >= young);
  };
  Garbage garbage;
  const std::vector<const Trace*> kept = traces_.retain(keep, dry_run);
  collect_checkpoints(dry_run, grace_seconds, resumable, garbage);
  collect_blobs(kept, dry_run, grace_seconds, garbage);
  if (!dry_run) clear_abandoned();
  return garbage;
}

void FileStore::collect_blobs(const std::vector<const Trace*>& kept, bool dry_run, double grace_seconds,
                              Garbage& garbage) {
  std::set<Hash> named;
  for (const Trace* trace : kept) {
    for_each_blob(trace->manifest, [&](const BlobRef& blob) {
      if (!trace->manifest.inline_blobs.contains(blob.hash)) named.insert(blob.hash);
    });
  }
  blobs_.for_each_file([&](const BlobStore::File& file) {
    if (named.contains(file.hash) || file.age_seconds < grace_seconds) {
      ++garbage.kept_blobs;
      garbage.kept_bytes += file.bytes;
      return;
    }
    if (!dry_run && ::unlink(file.path.c_str()) != 0 && errno != ENOENT) throw_file_error("remove", file.path, errno);
    ++garbage.blobs;
    garbage.bytes += file.bytes;
  });
}

void FileStore::collect_checkpoints(bool dry_run, double grace_seconds, bool resumable, Garbage& garbage) {
  const double unfinished_seconds = resumable ? std::max(grace_seconds, unfinished_checkpoint_seconds) : grace_seconds;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "checkpoints", error)) {
    struct stat status {};
    if (::stat(entry.path().c_str(), &status) != 0) continue;
    bool finished = false;
    try {
      finished = find(Hash::from_hex(entry.path().filename().string())) != nullptr;
    } catch (const Error&) {
      continue;  // not ours
    }
    const double age = std::difftime(std::time(nullptr), status.st_mtim.tv_sec);
    if (age < (finished ? grace_seconds : unfinished_seconds)) continue;
    if (!dry_run && ::unlink(entry.path().c_str()) != 0 && errno != ENOENT) {
      throw_file_error("remove", entry.path(), errno);
    }
    ++garbage.checkpoints;
    garbage.bytes += static_cast<std::uint64_t>(status.st_size);
  }
}

}  // namespace

std::unique_ptr<Store> Store::open(const std::filesystem::path& folder, Role role) {
  return std::make_unique<FileStore>(folder, role);
}

Value Store::get(const Manifest& manifest) {
  Value value;
  for (const auto& [name, field] : manifest.fields) value.fields[name] = get(field, manifest);
  return value;
}

}  // namespace colonnade::host
