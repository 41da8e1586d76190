#include "kernel/store/folder_writer.h"

#include <catch2/catch.hpp>

#include "colonnade/error.h"
#include "colonnade/files.h"
#include "kernel/store/store.h"
#include "tests/kernel/store/support.h"

using namespace colonnade;
using namespace colonnade::host;
using namespace colonnade::host::testing;

TEST_CASE("Files are written from where the store maps them, and what they replace goes when they are there") {
  const ScratchFolder folder;
  Files files;
  files.format = "test";
  const std::string large(300000, 'x');
  files.files = {{"large.bin", file_bytes(large)}, {"below/small.txt", file_bytes("small")}};
  auto store = Store::open(folder.path() / "store", Store::Role::worker);
  const Manifest manifest = store->put({{{"files", to_field(files)}}});
  const Files stored = files_from(store->get(manifest.fields.at("files"), manifest));
  REQUIRE(store->is_mapped(stored.files.at("large.bin").data()));
  const auto out = folder.path() / "out";
  write_folder_atomically(out, stored.files, false);
  CHECK(read_bytes(out / "large.bin") == large);
  CHECK(read_bytes(out / "below/small.txt") == "small");

  CHECK_THROWS_AS(write_folder_atomically(out, stored.files, false), Error);
  write_folder_atomically(out, {{"other.txt", file_bytes("other")}}, true);
  CHECK(read_bytes(out / "other.txt") == "other");
  CHECK_FALSE(std::filesystem::exists(out / "large.bin"));
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    CHECK((entry.path().filename() == "out" || entry.path().filename() == "store"));
  }
}
