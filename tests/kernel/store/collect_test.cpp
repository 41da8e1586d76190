// What garbage collection keeps and removes, and the files that a project consists of.
#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "colonnade/error.h"
#include "kernel/store/files.h"
#include "kernel/store/project.h"
#include "tests/kernel/store/support.h"

using namespace colonnade;
using namespace colonnade::host;
using namespace colonnade::host::testing;
namespace fs = std::filesystem;

namespace {

constexpr double no_grace = 0;
constexpr double hour = 3600;

std::set<Hash> keys(const std::vector<std::string>& names) {
  std::set<Hash> result;
  for (const std::string& name : names) result.insert(hash_bytes(name));
  return result;
}

void make_old(const fs::path& file) {
  const timespec times[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
  REQUIRE(::utimensat(AT_FDCWD, file.c_str(), times, 0) == 0);
}

void add_old(Store& store, const std::string& name, const Value& value, const std::string& op_class = "bitwise") {
  Trace trace = trace_of(store, name, value, op_class);
  trace.finished = 1'000'000'000;
  REQUIRE_FALSE(store.add(std::move(trace)));
  store.commit();
}

}  // namespace

TEST_CASE("Collecting keeps what is asked for and what was measured, and removes the rest") {
  const ScratchFolder folder;
  auto store = Store::open(folder.path(), Store::Role::coordinator);
  add_old(*store, "kept", large_value(3000, 1));
  add_old(*store, "dropped", large_value(3000, 2));
  add_old(*store, "small", small_value(3));
  add_old(*store, "measured", large_value(3000, 4), "measured");
  Value shared = large_value(3000, 1);
  shared.fields["more"] = large_value(3000, 5).fields["weights"];
  add_old(*store, "shares", shared);
  REQUIRE(files_below(folder.path() / "blobs").size() == 4);

  const Store::Garbage counted = store->collect(keys({"kept"}), true, no_grace);
  CHECK(counted.blobs == 2);
  CHECK(files_below(folder.path() / "blobs").size() == 4);
  CHECK(store->find(hash_bytes("dropped")) != nullptr);

  const Store::Garbage removed = store->collect(keys({"kept"}), false, no_grace);
  CHECK(removed.blobs == 2);
  CHECK(removed.bytes == counted.bytes);
  CHECK(removed.kept_blobs == 2);
  CHECK(files_below(folder.path() / "blobs").size() == 2);
  for (int process = 0; process < 2; ++process) {
    CHECK(same(store->get(store->find(hash_bytes("kept"))->manifest), large_value(3000, 1)));
    CHECK(same(store->get(store->find(hash_bytes("measured"))->manifest), large_value(3000, 4)));
    for (const char* name : {"dropped", "small", "shares"}) {
      CHECK(store->find_even_without_blobs(hash_bytes(name)) == nullptr);
    }
    if (process == 0) add_old(*store, "after", small_value(6));
    store = Store::open(folder.path(), Store::Role::coordinator);
    CHECK(store->find(hash_bytes("after")) != nullptr);
  }
}

TEST_CASE("Collecting spares the young, and what another coordinator appends to") {
  const ScratchFolder folder;
  auto one = Store::open(folder.path(), Store::Role::coordinator);
  auto two = Store::open(folder.path(), Store::Role::coordinator);
  add_old(*one, "own", large_value(3000, 1));
  add_old(*two, "foreign", large_value(3000, 2));
  two->put(large_value(3000, 3));  // not named yet
  CHECK(one->collect({}, false, hour).blobs == 0);
  CHECK(files_below(folder.path() / "blobs").size() == 3);

  for (const auto& file : files_below(folder.path() / "blobs")) make_old(file);
  two->put(large_value(3000, 3));  // used again: young again
  CHECK(one->collect({}, false, hour).blobs == 1);
  one->refresh();
  CHECK(one->find(hash_bytes("own")) == nullptr);
  CHECK(one->find(hash_bytes("foreign")) != nullptr);
  two->refresh();
  add_old(*two, "later", small_value(1));
  auto reader = Store::open(folder.path(), Store::Role::reader);
  CHECK(reader->find(hash_bytes("foreign")) != nullptr);
  CHECK(reader->find(hash_bytes("later")) != nullptr);
}

TEST_CASE("A reader follows a segment that was written again") {
  const ScratchFolder folder;
  auto store = Store::open(folder.path(), Store::Role::coordinator);
  add_old(*store, "a", small_value(1));
  add_old(*store, "b", small_value(2));
  auto reader = Store::open(folder.path(), Store::Role::reader);
  store->collect(keys({"b"}), false, no_grace);
  add_old(*store, "c", small_value(3));
  reader->refresh();
  reader->refresh();
  CHECK(reader->find(hash_bytes("b")) != nullptr);
  CHECK(reader->find(hash_bytes("c")) != nullptr);
  CHECK(reader->traces_of("test/bitwise").size() == 3);  // "a" as it was read before
}

TEST_CASE("Checkpoints of finished ops go, those of unfinished ones stay") {
  const ScratchFolder folder;
  auto store = Store::open(folder.path(), Store::Role::coordinator);
  add_old(*store, "finished", small_value(1));
  store->save_checkpoint(hash_bytes("finished"), small_value(1));
  store->save_checkpoint(hash_bytes("unfinished"), small_value(1));
  CHECK(store->collect(keys({"finished"}), false, no_grace).checkpoints == 1);
  CHECK_FALSE(store->load_checkpoint(hash_bytes("finished")));
  CHECK(store->load_checkpoint(hash_bytes("unfinished")));
  make_old(folder.path() / "checkpoints" / hash_bytes("unfinished").hex());
  CHECK(store->collect({}, false, no_grace).checkpoints == 1);
}

TEST_CASE("Checkpoints that nothing can go on from stay for the grace period only") {
  const ScratchFolder folder;
  auto store = Store::open(folder.path(), Store::Role::coordinator);
  store->save_checkpoint(hash_bytes("unfinished"), small_value(1));
  constexpr double hour = 3600;
  CHECK(store->collect({}, false, hour, false).checkpoints == 0);
  CHECK(store->collect({}, true, no_grace, false).checkpoints == 1);
  CHECK(store->load_checkpoint(hash_bytes("unfinished")));  // only counted
  CHECK(store->collect({}, false, no_grace, false).checkpoints == 1);
  CHECK_FALSE(store->load_checkpoint(hash_bytes("unfinished")));
}

TEST_CASE("What dead writers left is cleared away, what is being written is not") {
  const ScratchFolder folder;
  const auto tmp = folder.path() / "tmp";
  const auto left = [&] { return files_below(tmp).size(); };
  Store::open(folder.path(), Store::Role::worker);
  write_bytes(tmp / "0123456789abcdef", "half");
  TemporaryFile writing(tmp);
  CHECK(left() == 2);
  auto coordinator = Store::open(folder.path(), Store::Role::coordinator);
  CHECK(left() == 1);
  write_bytes(tmp / "fedcba9876543210", "of a worker that was killed during the run");
  CHECK(left() == 2);
  coordinator->clear_abandoned();
  CHECK(left() == 1);
  writing.publish(folder.path() / "published");
  CHECK(left() == 0);
  CHECK(fs::exists(folder.path() / "published"));
}

TEST_CASE("Clearing away never takes a file from a writer that has just created it") {
  const ScratchFolder folder;
  std::atomic<bool> over = false;
  std::thread clearing([&] {
    while (!over) remove_abandoned_files(folder.path());
  });
  constexpr int kFiles = 3000;
  for (int i = 0; i < kFiles; ++i) {
    TemporaryFile file(folder.path());
    file.write("whole");
    file.publish(folder.path() / "published");
    CHECK(fs::remove(folder.path() / "published"));
  }
  over = true;
  clearing.join();
}

TEST_CASE("The nearest project upwards is found, or one is made") {
  const ScratchFolder folder;
  const fs::path root = fs::canonical(folder.path());
  fs::create_directories(root / "a/b/c");
  CHECK_FALSE(find_project(root / "a/b"));
  const Project made = find_or_create_project(root / "a");
  CHECK(made.root == root / "a");
  CHECK(made.store_folder() == root / "a/.colonnade/store");
  CHECK(find_project(root / "a/b/c")->root == root / "a");
  CHECK(find_or_create_project(root / "a/b/c").root == root / "a");
  fs::create_directories(root / "a/b/.colonnade");
  CHECK(find_project(root / "a/b/c")->root == root / "a/b");
}

TEST_CASE("Files are replaced whole, also by several threads at once") {
  const ScratchFolder folder;
  const fs::path file = folder.path() / "lock.json";
  write_file_atomically(file, "first");
  CHECK(read_bytes(file) == "first");
  write_bytes(folder.path() / ".lock.json.tmp", "left by a killed process, longer than what follows");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int turn = 0; turn < 10; ++turn) write_file_atomically(file, std::string(100, static_cast<char>('a' + i)));
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::string last = read_bytes(file);
  CHECK(last == std::string(100, last[0]));
  CHECK(files_below(folder.path()).size() == 1);
  CHECK_THROWS_AS(write_file_atomically(folder.path() / "none/file", "x"), Error);
}
