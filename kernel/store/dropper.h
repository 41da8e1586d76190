#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>

#include "kernel/store/blob_store.h"
#include "kernel/store/files.h"
#include "kernel/store/trace_index.h"

namespace colonnade::host {

// What may be given up of a store to bring it within a quota.
struct DropRequest {
  std::uint64_t quota = 0;   // bytes of all blobs
  double most_seconds = 0;   // computing the value again, and those below it that are gone, may take no longer
  double grace_seconds = 0;  // younger blobs stay
  std::function<bool(const Trace&)> may_go;
};

struct Dropped {
  std::uint64_t bytes_left = 0;  // of all blobs
  std::set<Hash> keys;           // of the values whose blobs went
  bool in_use = false;           // another coordinator works on the store: nothing was looked at
};

// Drops blobs whose values are quick to compute again and keeps their traces, which say what must come out: seconds
// against bytes decide which go first, until the store is within nine tenths of its quota. Only values of bitwise ops
// go; a blob that any other value names stays. One a coordinator, for as long as it works: where there are several on a
// store, none drops what another may be about to read.
class Dropper {
 public:
  explicit Dropper(std::filesystem::path store);
  Dropped drop(const DropRequest& request);

 private:
  std::filesystem::path store_;
  BlobStore blobs_;
  TraceIndex traces_;
  FileDescriptor lock_;
};

}  // namespace colonnade::host
