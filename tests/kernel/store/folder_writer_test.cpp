#include "kernel/store/folder_writer.h"

#include <catch2/catch.hpp>

#include "colonnade/files.h"
#include "kernel/store/store.h"
#include "tests/kernel/store/support.h"

using namespace colonnade;
using namespace colonnade::host;
using namespace colonnade::host::testing;

TEST_CASE("Files that were not read yet are checked while they are written, and damaged ones leave nothing") {
  const ScratchFolder folder;
  Files files;
  files.format = "test";
  const std::string large(300000, 'x');
  files.files = {{"large.bin", file_bytes(large)}, {"below/small.txt", file_bytes("small")}};
  auto store = Store::open(folder.path() / "store", Store::Role::worker);
  const Manifest manifest = store->put({{{"files", to_field(files)}}});
  const FieldManifest& recorded = manifest.fields.at("files");
  const auto out = folder.path() / "out";
  {
    const Field unread = store->get_unread(recorded, manifest);
    REQUIRE(write_unread_folder(out, unread, recorded.content, false));
  }
  CHECK(read_bytes(out / "large.bin") == large);
  CHECK(read_bytes(out / "below/small.txt") == "small");

  // A byte in the middle of the large one.
  const auto stored = files_below(folder.path() / "store/blobs");
  for (const auto& file : stored) {
    std::string bytes = read_bytes(file);
    if (bytes.size() < 1000) continue;
    bytes[bytes.size() / 2] ^= 1;
    write_bytes(file, bytes);
  }
  auto again = Store::open(folder.path() / "store", Store::Role::reader);
  const Field damaged = again->get_unread(recorded, manifest);
  CHECK_FALSE(write_unread_folder(folder.path() / "other", damaged, recorded.content, false));
  CHECK_FALSE(write_unread_folder(out, damaged, recorded.content, true));
  CHECK(read_bytes(out / "large.bin") == large);  // what stood there still does
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    CHECK((entry.path().filename() == "out" || entry.path().filename() == "store"));
  }
  CHECK_THROWS_AS(again->get(recorded, manifest), DamagedBlob);
}
