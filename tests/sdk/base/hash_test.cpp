#include "colonnade/hash.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <set>
#include <thread>

#include "colonnade/error.h"

using namespace colonnade;

namespace {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "colonnade-hash-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace

// The vectors of FIPS 180-4's examples.
TEST_CASE("SHA-256 gives the published digests") {
  CHECK(hash_bytes("").hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hash_bytes("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hash_bytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq").hex() ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(hash_bytes(std::string(1000000, 'a')).hex() ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("a digest does not depend on how the bytes are cut") {
  const std::string bytes = "the same bytes in pieces of every length";
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    Sha256 sha;
    sha.update(std::string_view(bytes).substr(0, cut));
    sha.update(std::string_view(bytes).substr(cut));
    CHECK(sha.finish() == hash_bytes(bytes));
  }
}

TEST_CASE("a hash reads back from its digits and from nothing else") {
  const Hash hash = hash_bytes("abc");
  CHECK(Hash::from_hex(hash.hex()) == hash);
  CHECK(hash.short_hex() == "ba7816bf8f01");
  CHECK_FALSE(hash.is_none());
  CHECK(Hash{}.is_none());
  CHECK(Hash::from_hex(std::string(64, '0')).is_none());
  for (const std::string& bad : {std::string(), std::string(63, 'a'), std::string(65, 'a'), std::string(64, 'g'),
                                 std::string(64, 'A'), " " + std::string(63, 'a')}) {
    CHECK_THROWS_AS(Hash::from_hex(bad), Error);
  }
}

TEST_CASE("hashes are ordered and can be keys") {
  const std::set<Hash> hashes = {hash_bytes("a"), hash_bytes("b"), hash_bytes("a")};
  CHECK(hashes.size() == 2);
  CHECK(std::hash<Hash>()(hash_bytes("a")) != std::hash<Hash>()(hash_bytes("b")));
}

TEST_CASE("a file's hash is that of its bytes, also around the size of a read") {
  const TemporaryFolder folder;
  constexpr std::size_t kMebibyte = std::size_t{1} << 20;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kMebibyte - 1, kMebibyte, kMebibyte + 1}) {
    const std::string bytes(size, 'x');
    const auto file = folder.path() / std::to_string(size);
    std::ofstream(file, std::ios::binary) << bytes;
    CHECK(hash_file(file) == hash_bytes(bytes));
  }
}

TEST_CASE("a file that cannot be read is named") {
  const TemporaryFolder folder;
  const auto missing = folder.path() / "missing";
  CHECK_THROWS_WITH(hash_file(missing), "cannot read '" + missing.string() + "': No such file or directory");
  CHECK_THROWS_WITH(hash_file(folder.path()), "cannot read '" + folder.path().string() + "': Is a directory");
}

TEST_CASE("threads can hash at once") {
  std::vector<std::string> results(8);
  std::vector<std::thread> threads;
  for (std::string& result : results) {
    threads.emplace_back([&result] { result = hash_bytes("abc").hex(); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& result : results) CHECK(result == hash_bytes("abc").hex());
}
