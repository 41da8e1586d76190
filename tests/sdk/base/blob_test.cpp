#include "colonnade/blob.h"

#include <catch2/catch.hpp>
#include <limits>
#include <thread>

#include "colonnade/error.h"

using namespace colonnade;

namespace {

const std::vector<float> kOneToSix = {1, 2, 3, 4, 5, 6};

}  // namespace

TEST_CASE("every dtype has a name and a size") {
  const std::vector<std::pair<std::string, std::size_t>> expected = {{"bool", 1}, {"u8", 1},  {"i8", 1},  {"i16", 2},
                                                                     {"i32", 4},  {"i64", 8}, {"f16", 2}, {"bf16", 2},
                                                                     {"f32", 4},  {"f64", 8}};
  for (const auto& [name, size] : expected) {
    CHECK(dtype_name(dtype_from_name(name)) == name);
    CHECK(dtype_size(dtype_from_name(name)) == size);
  }
  CHECK_THROWS_WITH(dtype_from_name("bf61"),
                    "unknown dtype 'bf61'; did you mean 'bf16'? allowed: bool, u8, i8, i16, i32, i64, f16, bf16, f32, "
                    "f64");
}

TEST_CASE("a blob without arguments is empty") {
  const Blob blob;
  CHECK(blob.dtype() == DType::f32);
  CHECK(blob.shape() == std::vector<std::int64_t>{0});
  CHECK(blob.elements() == 0);
  CHECK(blob.size() == 0);
  CHECK(blob.content_hash() == Blob::of(DType::f32, std::vector<float>{}).content_hash());
}

TEST_CASE("a copy has memory of its own, aligned for vector instructions") {
  std::vector<float> elements = kOneToSix;
  const Blob blob = Blob::of(DType::f32, elements, {2, 3});
  elements.assign(6, 0);
  CHECK(std::vector<float>(blob.as<float>(), blob.as<float>() + blob.elements()) == kOneToSix);
  CHECK(blob.shape() == std::vector<std::int64_t>{2, 3});
  CHECK(blob.size() == 24);
  CHECK(reinterpret_cast<std::uintptr_t>(blob.data()) % 64 == 0);
  const Blob same = blob;
  CHECK(same.data() == blob.data());
}

TEST_CASE("shared memory lives as long as a blob") {
  auto owner = std::make_shared<std::vector<float>>(kOneToSix);
  const std::weak_ptr<std::vector<float>> watched = owner;
  {
    const Blob blob = Blob::share(DType::f32, {6}, owner->data(), owner);
    owner.reset();
    CHECK_FALSE(watched.expired());
    CHECK(blob.as<float>()[5] == 6);
    CHECK(blob.owner() == watched.lock());
  }
  CHECK(watched.expired());
}

TEST_CASE("a content hash is that of dtype, shape and bytes") {
  const Hash hash = Blob::of(DType::f32, kOneToSix, {2, 3}).content_hash();
  // Made by an independent program from the written format.
  CHECK(hash.hex() == "6c384d230abfeeb1f709184a9d6febfb48f3a8b6a95f080e94198f4236b7e126");
  CHECK(Blob::of(DType::f32, kOneToSix, {3, 2}).content_hash() != hash);
  CHECK(Blob::of(DType::f32, kOneToSix, {6}).content_hash() != hash);
  CHECK(Blob::of(DType::i32, kOneToSix, {2, 3}).content_hash() != hash);
  std::vector<float> other = kOneToSix;
  other[5] = 7;
  CHECK(Blob::of(DType::f32, other, {2, 3}).content_hash() != hash);
}

TEST_CASE("one element without dimensions and one in a row differ") {
  const float one = 1;
  const Blob scalar = Blob::copy(DType::f32, {}, &one);
  CHECK(scalar.elements() == 1);
  CHECK(scalar.content_hash() != Blob::copy(DType::f32, {1}, &one).content_hash());
}

TEST_CASE("a hash that is known is not computed") {
  const Hash known = hash_bytes("known");
  const Blob told = Blob::of(DType::f32, kOneToSix);
  told.set_known_hash(known);
  CHECK(told.content_hash() == known);
  const Blob copy = told;
  CHECK(copy.content_hash() == known);

  const Blob computed = Blob::of(DType::f32, kOneToSix);
  const Hash hash = computed.content_hash();
  computed.set_known_hash(known);
  CHECK(computed.content_hash() == hash);
}

TEST_CASE("threads may ask for a hash at once") {
  const Blob blob = Blob::of(DType::f32, std::vector<float>(100000, 1.5F));
  const Hash expected = Blob::of(DType::f32, std::vector<float>(100000, 1.5F)).content_hash();
  std::vector<Hash> hashes(8);
  std::vector<std::thread> threads;
  for (Hash& hash : hashes) {
    threads.emplace_back([&hash, blob] { hash = blob.content_hash(); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Hash& hash : hashes) CHECK(hash == expected);
}

TEST_CASE("shapes that no memory fits are refused") {
  constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();
  const float one = 1;
  CHECK_THROWS_WITH(Blob::copy(DType::f32, {2, -1}, &one), "shape [2, -1] has a negative extent");
  CHECK_THROWS_WITH(Blob::copy(DType::f32, {kHuge, 2}, &one), Catch::Contains("is larger than any memory"));
  CHECK_THROWS_AS(Blob::copy(DType::f32, {kHuge / 2}, &one), Error);
  CHECK(Blob::copy(DType::f32, {0, kHuge}, &one).elements() == 0);
  CHECK_THROWS_WITH(Blob::of(DType::f32, kOneToSix, {2, 2}),
                    "24 bytes do not fill a tensor of f32 with shape [2, 2], which takes 16");
}
