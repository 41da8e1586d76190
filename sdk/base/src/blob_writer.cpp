#include "colonnade/blob_writer.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "blob_header.h"
#include "colonnade/error.h"

namespace colonnade {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 20;
// As many chunks as may wait for being hashed and written: enough that neither thread waits for the other's hiccups.
constexpr std::size_t kChunks = 8;

BlobSinks& sinks() {
  static BlobSinks all;
  return all;
}

// Hashes (SHA-256) what it is given and writes it to a sink, on a thread that starts when there is enough for it.
class BackgroundWriter {
 public:
  BackgroundWriter(std::unique_ptr<BlobSink> sink, const std::string& header) : sink_(std::move(sink)) {
    sha_.update(header.data(), header.size());  // which is hashed only
  }

  ~BackgroundWriter() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  void write(const void* bytes, std::size_t size) {
    const auto* next = static_cast<const std::byte*>(bytes);
    while (size > 0) {
      if (filling_.capacity() == 0) filling_ = empty_chunk();
      const std::size_t here = std::min(size, kChunk - filling_.size());
      filling_.insert(filling_.end(), next, next + here);
      next += here;
      size -= here;
      if (filling_.size() == kChunk) hand_over();
    }
  }

  Blob finish() {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return (full_.empty() && !busy_) || failure_ != nullptr; });
      if (failure_ != nullptr) std::rethrow_exception(failure_);
    }
    use(filling_);
    Blob blob = sink_->finish();
    blob.set_known_hash(sha_.finish());
    return blob;
  }

 private:
  using Chunk = std::vector<std::byte>;

  void use(const Chunk& chunk) {
    sha_.update(chunk.data(), chunk.size());
    sink_->write(chunk.data(), chunk.size());
  }

  Chunk empty_chunk() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !free_.empty() || made_ < kChunks || failure_ != nullptr; });
    if (failure_ != nullptr) std::rethrow_exception(failure_);
    Chunk chunk;
    if (free_.empty()) {
      ++made_;
      chunk.reserve(kChunk);
      return chunk;
    }
    chunk = std::move(free_.back());
    free_.pop_back();
    chunk.clear();
    return chunk;
  }

  void hand_over() {
    if (!thread_.joinable()) thread_ = std::thread([this] { use_chunks(); });
    {
      const std::lock_guard lock(mutex_);
      full_.push_back(std::exchange(filling_, {}));
    }
    changed_.notify_all();
  }

  void use_chunks() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return !full_.empty() || ended_; });
      if (full_.empty()) return;
      Chunk chunk = std::move(full_.front());
      full_.pop_front();
      busy_ = true;
      lock.unlock();
      try {
        use(chunk);
      } catch (...) {
        lock.lock();
        failure_ = std::current_exception();
        changed_.notify_all();
        return;
      }
      lock.lock();
      busy_ = false;
      free_.push_back(std::move(chunk));
      changed_.notify_all();
    }
  }

  std::unique_ptr<BlobSink> sink_;
  Sha256 sha_;
  Chunk filling_;  // the writer's alone
  std::thread thread_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<Chunk> full_;
  std::vector<Chunk> free_;
  std::size_t made_ = 0;
  bool busy_ = false, ended_ = false;
  std::exception_ptr failure_;
};

class MemorySink final : public BlobSink {
 public:
  MemorySink(DType dtype, std::vector<std::int64_t> shape, std::size_t size)
      : dtype_(dtype),
        shape_(std::move(shape)),
        memory_(::operator new(size, kAlignment), [](void* address) { ::operator delete(address, kAlignment); }) {}

  void write(const void* bytes, std::size_t size) override {
    std::memcpy(static_cast<std::byte*>(memory_.get()) + written_, bytes, size);
    written_ += size;
  }
  Blob finish() override { return Blob::share(dtype_, shape_, memory_.get(), memory_); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  DType dtype_;
  std::vector<std::int64_t> shape_;
  std::shared_ptr<void> memory_;
  std::size_t written_ = 0;
};

}  // namespace

struct BlobWriter::State {
  std::size_t size = 0, written = 0;
  std::optional<BackgroundWriter> writer;
};

BlobWriter::BlobWriter(DType dtype, std::vector<std::int64_t> shape) : state_(std::make_unique<State>()) {
  state_->size = Blob::share(dtype, shape, nullptr, nullptr).size();
  const std::string header = blob_hash_header(dtype, shape);
  std::unique_ptr<BlobSink> sink =
      sinks() ? sinks()(dtype, shape) : std::make_unique<MemorySink>(dtype, std::move(shape), state_->size);
  state_->writer.emplace(std::move(sink), header);
}

BlobWriter::~BlobWriter() = default;

void BlobWriter::write(const void* bytes, std::size_t size) {
  if (size == 0) return;
  if (size > state_->size - state_->written) {
    throw Error(ErrorKind::op, "it wrote more than the " + std::to_string(state_->size) + " bytes of a blob");
  }
  state_->written += size;
  state_->writer->write(bytes, size);
}

Blob BlobWriter::finish() {
  if (state_->written != state_->size) {
    throw Error(ErrorKind::op, "it wrote " + std::to_string(state_->written) + " of the " +
                                   std::to_string(state_->size) + " bytes of a blob");
  }
  return state_->writer->finish();
}

void set_blob_sinks(BlobSinks all) {
  sinks() = std::move(all);
}

}  // namespace colonnade
