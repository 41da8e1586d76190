#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "colonnade/blob.h"

namespace colonnade {

// A large blob that is written from its first byte to its last, and hashed meanwhile on a thread of its own. In a
// worker the bytes go to a file of the store, so that the blob takes no memory and is stored when it is finished;
// elsewhere they stay in memory. One thread at a time. A writer that is not finished leaves nothing.
class BlobWriter {
 public:
  BlobWriter(DType dtype, std::vector<std::int64_t> shape);
  ~BlobWriter();
  BlobWriter(const BlobWriter&) = delete;
  BlobWriter& operator=(const BlobWriter&) = delete;

  // The next bytes. Throws Error(op) beyond what the shape takes, Error(environment) where they cannot be written.
  void write(const void* bytes, std::size_t size);
  // The blob, its hash known. Throws Error(op) unless every byte was written.
  Blob finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Where the bytes of one blob go: what a host provides.
class BlobSink {
 public:
  virtual ~BlobSink() = default;
  virtual void write(const void* bytes, std::size_t size) = 0;
  virtual Blob finish() = 0;  // every byte has been written
};
using BlobSinks = std::function<std::unique_ptr<BlobSink>(DType dtype, const std::vector<std::int64_t>& shape)>;

// For a host, before ops run: `sinks` are asked for every blob from now on; an empty function stands for memory.
void set_blob_sinks(BlobSinks sinks);

}  // namespace colonnade
