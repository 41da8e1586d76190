#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "colonnade/error.h"
#include "kernel/plugin/catalogue.h"
#include "kernel/plugin/file_hashes.h"
#include "tests/kernel/store/support.h"

using namespace colonnade;
using namespace colonnade::host;
using namespace colonnade::host::testing;
namespace fs = std::filesystem;

namespace {

void make_tree(const fs::path& root) {
  fs::create_directories(root / "b/c");
  write_bytes(root / "a.txt", "alpha");
  write_bytes(root / "b/d.txt", "delta");
}

// So old that its times tell its state.
void make_settled(const fs::path& file) {
  const timespec times[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
  ::utimensat(AT_FDCWD, file.c_str(), times, 0);
}

}  // namespace

TEST_CASE("A path's hash follows names and contents, nothing else") {
  const ScratchFolder folder;
  make_tree(folder.path() / "one");
  make_tree(folder.path() / "two");
  const Hash hash = hash_path(folder.path() / "one", {});
  CHECK(hash_path(folder.path() / "two", {}) == hash);
  CHECK(hash_path(folder.path() / "one/", {}) == hash);
  make_settled(folder.path() / "two/a.txt");
  CHECK(hash_path(folder.path() / "two", {}) == hash);
  fs::rename(folder.path() / "two", folder.path() / "three");
  const fs::path tree = folder.path() / "three";
  CHECK(hash_path(tree, {}) == hash);

  fs::rename(tree / "a.txt", tree / "e.txt");
  CHECK(hash_path(tree, {}) != hash);
  fs::rename(tree / "e.txt", tree / "a.txt");
  CHECK(hash_path(tree, {}) == hash);
  write_bytes(tree / "a.txt", "alphb");
  CHECK(hash_path(tree, {}) != hash);
  write_bytes(tree / "a.txt", "alpha");
  fs::create_directory(tree / "f");
  CHECK(hash_path(tree, {}) != hash);
  fs::remove(tree / "f");
  fs::create_directory_symlink(tree / "b", tree / "f");
  fs::remove_all(folder.path() / "one/b");
  CHECK(hash_path(tree, {}) != hash_path(folder.path() / "one", {}));
}

TEST_CASE("A file is its content, whatever it is called, and no folder") {
  const ScratchFolder folder;
  write_bytes(folder.path() / "a", "text");
  write_bytes(folder.path() / "b", "text");
  CHECK(hash_path(folder.path() / "a", {}) == hash_path(folder.path() / "b", {}));
  fs::create_directory(folder.path() / "c");
  fs::rename(folder.path() / "b", folder.path() / "c/b");
  CHECK(hash_path(folder.path() / "c", {}) != hash_path(folder.path() / "a", {}));
  fs::create_symlink(folder.path() / "a", folder.path() / "link");
  CHECK(hash_path(folder.path() / "link", {}) == hash_path(folder.path() / "a", {}));
}

TEST_CASE("What cannot be hashed is named") {
  const ScratchFolder folder;
  const auto message = [&](const fs::path& path) -> std::string {
    try {
      hash_path(path, {});
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::usage);
      return error.what();
    }
    return "no error";
  };
  write_bytes(folder.path() / "train.txt", "x");
  CHECK(message(folder.path() / "trian.txt") ==
        (folder.path() / "trian.txt").string() + ": there is no such file or folder; did you mean 'train.txt'?");
  fs::create_directory(folder.path() / "loop");
  fs::create_directory_symlink(folder.path() / "loop", folder.path() / "loop/again");
  CHECK(message(folder.path() / "loop") ==
        (folder.path() / "loop/again").string() + ": is a link to a folder that it lies in");
  fs::create_symlink(folder.path() / "nothing", folder.path() / "loop/again2");
  fs::remove(folder.path() / "loop/again");
  CHECK(message(folder.path() / "loop") == (folder.path() / "loop/again2").string() + ": No such file or directory");
  REQUIRE(::mkfifo((folder.path() / "pipe").c_str(), 0600) == 0);
  CHECK(message(folder.path() / "pipe") == (folder.path() / "pipe").string() + ": is neither a file nor a folder");
}

TEST_CASE("Hashes are remembered for settled files, and a torn cache only forgets") {
  const ScratchFolder folder;
  const fs::path file = folder.path() / "data";
  write_bytes(file, "content");
  const FileIdentity real = *file_identity(file);
  CHECK(is_fresh(real));
  FileIdentity settled = real;
  settled.modified_ns = settled.changed_ns = 1'000'000'000;
  CHECK_FALSE(is_fresh(settled));

  const fs::path cache = folder.path() / "cache";
  fs::create_directory(cache);
  const Hash hash = hash_bytes("content"), remembered = hash_bytes("remembered");
  const std::string identity = std::to_string(real.device) + " " + std::to_string(real.inode) + " " +
                               std::to_string(real.size) + " " + std::to_string(real.modified_ns) + " " +
                               std::to_string(real.changed_ns) + " " + remembered.hex();
  const std::string line = identity + " " + hash_bytes(identity).short_hex();
  write_bytes(cache / "file_hashes", line + "\n");
  CHECK(FileHashes(cache).hash(file, real) == remembered);  // it is believed, not computed again
  for (std::size_t size = 0; size < line.size(); ++size) {
    write_bytes(cache / "file_hashes", line.substr(0, size));
    REQUIRE(FileHashes(cache).hash(file, real) == hash);
  }
  for (std::size_t place = 0; place < line.size(); ++place) {
    std::string damaged = line;
    damaged[place] = static_cast<char>(damaged[place] ^ 1);
    write_bytes(cache / "file_hashes", damaged + "\n");
    REQUIRE(FileHashes(cache).hash(file, real) == hash);
  }
}
