#include "colonnade/blob_writer.h"

#include <catch2/catch.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "colonnade/error.h"
#include "colonnade/random.h"

namespace colonnade {
namespace {

std::vector<std::uint8_t> some_bytes(std::size_t count) {
  std::vector<std::uint8_t> bytes(count);
  const RandomStream stream(3);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<std::uint8_t>(stream.bits(i));
  return bytes;
}

Blob written(const std::vector<std::uint8_t>& bytes, std::size_t piece) {
  BlobWriter writer(DType::u8, {static_cast<std::int64_t>(bytes.size())});
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    writer.write(bytes.data() + at, std::min(piece, bytes.size() - at));
  }
  return writer.finish();
}

}  // namespace

TEST_CASE("a blob written in pieces is the blob copied whole, with the hash that its bytes have") {
  // Around the size of a hashed chunk, and many of them.
  constexpr std::size_t chunk = 1 << 20;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, chunk - 1, chunk, chunk + 1, 20 * chunk + 7}) {
    const auto bytes = some_bytes(size);
    const Blob whole = Blob::of(DType::u8, bytes, {static_cast<std::int64_t>(size)});
    for (const std::size_t piece : {std::size_t{4099}, std::size_t{3} << 20}) {
      const Blob blob = written(bytes, piece);
      CHECK(blob.size() == size);
      CHECK(blob.content_hash() == whole.content_hash());
      CHECK(std::equal(bytes.begin(), bytes.end(), blob.as<std::uint8_t>()));
    }
  }
}

TEST_CASE("dtype and shape count, and a blob has the bytes that its shape takes") {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  BlobWriter writer(DType::f32, {2, 3});
  writer.write(values.data(), values.size() * sizeof(float));
  CHECK(writer.finish().content_hash() == Blob::of(DType::f32, values, {2, 3}).content_hash());

  BlobWriter small(DType::f32, {2});
  CHECK_THROWS_WITH(small.write(values.data(), 12), Catch::Contains("more than the 8 bytes"));
  small.write(values.data(), 4);
  CHECK_THROWS_WITH(small.finish(), Catch::Contains("4 of the 8 bytes"));
}

TEST_CASE("a host's sink gets every byte in order, and what it cannot take is the writer's error") {
  struct Sink final : BlobSink {
    std::shared_ptr<std::string> bytes;
    std::size_t room = 0;
    void write(const void* data, std::size_t size) override {
      if (bytes->size() + size > room) throw Error(ErrorKind::environment, "the disk is full");
      bytes->append(static_cast<const char*>(data), size);
    }
    Blob finish() override {
      return Blob::share(DType::u8, {static_cast<std::int64_t>(bytes->size())}, bytes->data(), bytes);
    }
  };
  const auto bytes = some_bytes(3000000);
  std::size_t room = bytes.size();
  set_blob_sinks([&](DType, const std::vector<std::int64_t>&) {
    auto sink = std::make_unique<Sink>();
    sink->bytes = std::make_shared<std::string>();
    sink->room = room;
    return sink;
  });
  const Blob blob = written(bytes, 70001);
  CHECK(std::equal(bytes.begin(), bytes.end(), blob.as<std::uint8_t>()));
  CHECK(blob.content_hash() == Blob::of(DType::u8, bytes).content_hash());
  room = 2000000;
  CHECK_THROWS_WITH(written(bytes, 70001), "the disk is full");
  set_blob_sinks({});
}

}  // namespace colonnade
