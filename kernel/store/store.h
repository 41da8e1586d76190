#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "colonnade/blob_writer.h"
#include "colonnade/value.h"

namespace colonnade::host {

// A tensor's place in the store.
struct BlobRef {
  Hash hash;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  std::uint64_t bytes = 0;
};

// A field without its tensors' bytes.
struct FieldManifest {
  std::string type;
  Hash content;                          // Field::content_hash
  Json document;                         // empty (null) if it lies in `document_blob`
  std::optional<BlobRef> document_blob;  // encoded document, u8, where it is large
  std::map<std::string, BlobRef> tensors;
  std::set<std::string> carries;
};

// A value as a trace holds it: fields, and the bytes of small blobs (inline below 4 KiB for the whole value).
struct Manifest {
  std::map<std::string, FieldManifest> fields;
  std::map<Hash, std::string> inline_blobs;

  std::uint64_t bytes() const;  // of all blobs, inline ones too
};
Json to_json(const Manifest& manifest);
Manifest manifest_from_json(const Json& document);

// "This op on these inputs gave this value." Kept when the value's blobs are gone.
struct Trace {
  Hash key;
  std::string op;
  std::string
      op_class;     // "bitwise", "tolerant", "stochastic", "measured"; "copy" of another store's value, in a replay
  Json key_record;  // see graph/keys.h
  Manifest manifest;
  double seconds = 0;  // what it cost
  std::uint64_t peak_memory = 0;
  std::int64_t finished = 0;  // Unix seconds; of the record, never of the value
};

// Thrown when bytes are not what their name says. The blob has been moved to quarantine; the trace that named it no
// longer counts as found, so evaluating again mends it.
class DamagedBlob : public std::runtime_error {
 public:
  DamagedBlob(const Hash& hash, const std::string& message) : std::runtime_error(message), hash(hash) {}
  Hash hash;
};

// Two values under one key of a bitwise op.
struct Nondeterminism {
  Hash key;
  std::string op;
  std::vector<std::string> fields;  // that differ
};

// What a value must outlast from the moment it was put.
enum class Durability {
  power_cut,  // it is on the disk
  kill,       // the system has it: a power cut may tear it, which its checksum tells; then it is computed again
};

// Values and traces of a project, in `folder` (.colonnade/store):
//   blobs/ab/<hash>       header (dtype, shape) and bytes, packed where most are zero (blob_file.h); read-only; mapped
//   traces/<name>.trace   append-only segments of checksummed records, one a coordinator
//   checkpoints/<key>     the saved state of a long op
//   pins/                 keys that collecting keeps, by name; written by study/pins
//   quarantine/           blobs that were damaged
//   tmp/                  being written
// Every file is written under tmp/, fsynced and renamed (its folder fsynced before a trace names it), so a kill at any
// instant leaves the whole file or none, and so does a power cut, but for values quick to compute again (Durability); a
// record torn at the end of a segment is cut off and ignored. Several processes may use one store at once: blobs are
// content-addressed and each coordinator appends to a segment of its own, held by flock. Not for use by two threads at
// once.
class Store {
 public:
  enum class Role { reader, worker, coordinator };  // only a coordinator adds traces
  static std::unique_ptr<Store> open(const std::filesystem::path& folder, Role role);
  virtual ~Store() = default;
  virtual const std::filesystem::path& folder() const = 0;

  // Writes the blobs that are not there yet. Throws Error(environment) naming file and reason (disk full, no rights).
  virtual Manifest put(const Value& value, Durability durability = Durability::power_cut) = 0;
  // For set_blob_sinks: blobs written through it are put without being written again. Must not outlive the store.
  virtual std::unique_ptr<BlobSink> sink(DType dtype, const std::vector<std::int64_t>& shape) = 0;
  // Maps the field read-only, verifying each blob on its first use in this process. Throws DamagedBlob.
  virtual Field get(const FieldManifest& field, const Manifest& whole) = 0;
  Value get(const Manifest& manifest);
  virtual bool has_blobs(const Manifest& manifest) const = 0;  // looks for the files, does not read them
  // True if `address` lies in a mapping handed out by this store (used by the worker's fault handler).
  virtual bool is_mapped(const void* address) const = 0;

  // Traces. `find` returns the one whose blobs are there, else nullptr.
  virtual const Trace* find(const Hash& key) const = 0;
  virtual const Trace* find_even_without_blobs(const Hash& key) const = 0;
  virtual std::vector<const Trace*> traces_of(const std::string& op) const = 0;  // newest last
  // Buffers the trace; a differing value under the same key of a bitwise op is reported, the first one stays.
  virtual std::optional<Nondeterminism> add(Trace trace) = 0;
  // Group commit: everything added so far is on the disk when it returns.
  virtual void commit() = 0;
  // Reads what other coordinators have appended since.
  virtual void refresh() = 0;
  // Removes what processes that died left half written.
  virtual void clear_abandoned() = 0;

  virtual void save_checkpoint(const Hash& key, const Value& state) = 0;
  virtual std::optional<Value> load_checkpoint(const Hash& key) = 0;  // a damaged one counts as absent
  virtual void drop_checkpoint(const Hash& key) = 0;

  struct Garbage {
    std::uint64_t blobs = 0, bytes = 0, checkpoints = 0, kept_blobs = 0, kept_bytes = 0;
  };
  // Removes blobs that no kept trace names and traces not kept; `dry_run` only counts. Blobs younger than
  // `grace_seconds` stay (another process may be about to name them). Measured traces always stay. Checkpoints of ops
  // that have not finished go after a month, or with the grace period if nothing is `resumable`, which could go on from
  // them.
  virtual Garbage collect(const std::set<Hash>& kept_keys, bool dry_run, double grace_seconds,
                          bool resumable = true) = 0;

  // Reads every blob; the damaged ones are quarantined and returned.
  virtual std::vector<Hash> verify() = 0;
};

// Writes `bytes` to `file` through a temporary name, fsync and rename. For run directories and caches.
void write_file_atomically(const std::filesystem::path& file, std::string_view bytes);

}  // namespace colonnade::host
