#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <optional>

#include "colonnade/blob_writer.h"
#include "kernel/store/store.h"
#include "tests/kernel/store/support.h"

using namespace colonnade;
using namespace colonnade::host;
using namespace colonnade::host::testing;

namespace {

std::vector<float> numbers(std::size_t count) {
  std::vector<float> result(count);
  for (std::size_t i = 0; i < count; ++i) result[i] = static_cast<float>(i % 977) - 400;
  return result;
}

Blob write_through(Store& store, const std::vector<float>& values) {
  set_blob_sinks([&store](DType dtype, const auto& shape) { return store.sink(dtype, shape); });
  BlobWriter writer(DType::f32, {static_cast<std::int64_t>(values.size() / 2), 2});
  const auto* bytes = reinterpret_cast<const char*>(values.data());
  const std::size_t size = values.size() * sizeof(float), piece = 123456;
  for (std::size_t at = 0; at < size; at += piece) writer.write(bytes + at, std::min(piece, size - at));
  Blob blob = writer.finish();
  set_blob_sinks({});
  return blob;
}

ino_t inode_of(const std::filesystem::path& file) {
  struct stat status {};
  REQUIRE(::stat(file.c_str(), &status) == 0);
  return status.st_ino;
}

}  // namespace

TEST_CASE("A blob written piece by piece is published as the file it was written to") {
  const ScratchFolder folder;
  auto store = Store::open(folder.path(), Store::Role::worker);
  const auto values = numbers(600000);
  const Blob whole = Blob::of(DType::f32, values, {300000, 2});
  std::optional<Blob> blob = write_through(*store, values);
  CHECK(blob->content_hash() == whole.content_hash());
  CHECK(store->is_mapped(blob->data()));
  const auto temporary = files_below(folder.path() / "tmp");
  REQUIRE(temporary.size() == 1);
  const ino_t inode = inode_of(temporary.front());
  Value value;
  value.fields["weights"] = tensor_field(*blob);
  const Manifest manifest = store->put(value);
  const auto stored = files_below(folder.path() / "blobs");
  REQUIRE(stored.size() == 1);
  CHECK(inode_of(stored.front()) == inode);
  CHECK(files_below(folder.path() / "tmp").empty());
  blob.reset();
  value = {};
  CHECK(store->put({{{"weights", tensor_field(whole)}}}).bytes() == manifest.bytes());
  CHECK(files_below(folder.path() / "blobs").size() == 1);
  // Another process finds what a blob put in one piece would have left, and verifies it.
  auto reader = Store::open(folder.path(), Store::Role::reader);
  CHECK(reader->get(manifest).at("weights").content_hash() == tensor_field(whole).content_hash());
  const ScratchFolder other;
  auto plain = Store::open(other.path(), Store::Role::worker);
  plain->put({{{"weights", tensor_field(whole)}}});
  CHECK(read_bytes(files_below(other.path() / "blobs").front()) == read_bytes(stored.front()));
}

TEST_CASE("What is not finished, not put or there already leaves no file behind") {
  const ScratchFolder folder;
  auto store = Store::open(folder.path(), Store::Role::worker);
  const auto values = numbers(20000);
  {
    set_blob_sinks([&](DType dtype, const auto& shape) { return store->sink(dtype, shape); });
    BlobWriter writer(DType::f32, {20000});
    writer.write(values.data(), 1000);
    set_blob_sinks({});
  }
  write_through(*store, values);
  CHECK(files_below(folder.path() / "tmp").empty());
  for (int i = 0; i < 2; ++i) {
    Value value;
    value.fields["weights"] = tensor_field(write_through(*store, values));
    store->put(value);
  }
  CHECK(files_below(folder.path() / "blobs").size() == 1);
  CHECK(files_below(folder.path() / "tmp").empty());
}
