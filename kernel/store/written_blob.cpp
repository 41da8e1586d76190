#include "kernel/store/written_blob.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "colonnade/error.h"

namespace colonnade::host {

class FileSink final : public BlobSink {
 public:
  FileSink(WrittenBlobs& all, const std::filesystem::path& temporary_folder, DType dtype,
           std::vector<std::int64_t> shape, std::shared_ptr<MappedRanges> ranges)
      : all_(all), dtype_(dtype), shape_(std::move(shape)), ranges_(std::move(ranges)), file_(temporary_folder) {
    const std::string header = plain_blob_header(dtype_, shape_);
    header_size_ = size_ = header.size();
    file_.write(header);
  }

  void write(const void* bytes, std::size_t size) override {
    checksum_.update(bytes, size);
    file_.write(bytes, size);
    size_ += size;
  }

  Blob finish() override {
    auto mapping = Mapping::of_file(file_.descriptor(), size_, ranges_);
    if (!mapping) throw Error(ErrorKind::environment, "the system refuses to map a blob that was written");
    const char* bytes = mapping->data() + header_size_;
    auto owner = std::make_shared<WrittenBlob>(WrittenBlob{std::move(file_), std::move(checksum_), std::move(mapping)});
    all_.written_.push_back(owner);
    return Blob::share(dtype_, shape_, bytes, std::move(owner));
  }

 private:
  WrittenBlobs& all_;
  DType dtype_;
  std::vector<std::int64_t> shape_;
  std::shared_ptr<MappedRanges> ranges_;
  TemporaryFile file_;
  BlobChecksum checksum_;
  std::size_t header_size_ = 0;
  std::uint64_t size_ = 0;
};

std::unique_ptr<BlobSink> WrittenBlobs::sink(const std::filesystem::path& temporary_folder, DType dtype,
                                             const std::vector<std::int64_t>& shape,
                                             std::shared_ptr<MappedRanges> ranges) {
  std::erase_if(written_, [](const auto& blob) { return blob.expired(); });
  return std::make_unique<FileSink>(*this, temporary_folder, dtype, shape, std::move(ranges));
}

std::optional<TemporaryFile> WrittenBlobs::take(const Hash& hash, const Blob& blob) {
  for (auto found = written_.begin(); found != written_.end(); ++found) {
    const std::shared_ptr<WrittenBlob> written = found->lock();
    if (written == nullptr || written.get() != blob.owner().get()) continue;
    written_.erase(found);
    seal_blob_file(written->file, hash, written->checksum);
    return std::move(written->file);
  }
  return std::nullopt;
}

}  // namespace colonnade::host
