// Truncated files, flipped bits, full disks: a value comes back as it was, or not at all.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <functional>

#include "colonnade/error.h"
#include "tests/kernel/store/support.h"

using namespace colonnade;
using namespace colonnade::host;
using namespace colonnade::host::testing;
namespace fs = std::filesystem;

namespace {

constexpr int value_count = 4;

std::string name_of(int i) {
  return "k" + std::to_string(i);
}

void fill(const fs::path& folder) {
  auto store = Store::open(folder, Store::Role::coordinator);
  for (int i = 0; i < value_count; ++i) {
    REQUIRE_FALSE(store->add(trace_of(*store, name_of(i), small_value(i))));
    store->commit();
  }
}

fs::path only_file_below(const fs::path& folder) {
  const auto files = files_below(folder);
  REQUIRE(files.size() == 1);
  return files.front();
}

// Whatever is found is what was put; returns how many were found.
int check_found_values(Store& store) {
  int found = 0;
  for (int i = 0; i < value_count; ++i) {
    const Trace* trace = store.find(hash_bytes(name_of(i)));
    if (trace == nullptr) continue;
    ++found;
    REQUIRE(same(store.get(trace->manifest), small_value(i)));
    REQUIRE(trace->op == "test/bitwise");
    REQUIRE(trace->key_record.at("params").at("name") == name_of(i));
  }
  return found;
}

// A coordinator that goes on after the damage has everything again, and so has the next process.
void check_recovery(const fs::path& folder) {
  {
    auto store = Store::open(folder, Store::Role::coordinator);
    for (int i = 0; i < value_count; ++i) REQUIRE_FALSE(store->add(trace_of(*store, name_of(i), small_value(i))));
    store->commit();
  }
  auto store = Store::open(folder, Store::Role::reader);
  REQUIRE(check_found_values(*store) == value_count);
}

// Runs `action` in a child that may write files of at most `bytes`; returns what it printed.
std::string in_child_with_file_limit(rlim_t bytes, const std::function<std::string()>& action) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{bytes, bytes};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::string result = action();
    [[maybe_unused]] const ssize_t written = ::write(ends[1], result.data(), result.size());
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string result(4096, '\0');
  const ssize_t count = ::read(ends[0], result.data(), result.size());
  result.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  return result;
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return (error.kind() == ErrorKind::environment ? "environment: " : "other: ") + std::string(error.what());
  }
  return "no error";
}

}  // namespace

TEST_CASE("A segment cut off at any byte keeps the records before, and is continued") {
  const ScratchFolder folder;
  fill(folder.path());
  const fs::path segment = only_file_below(folder.path() / "traces");
  const std::string whole = read_bytes(segment);
  int most = 0;
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    write_bytes(segment, whole.substr(0, size));
    auto store = Store::open(folder.path(), Store::Role::reader);
    const int found = check_found_values(*store);
    REQUIRE(found >= most);  // a longer rest never has fewer
    most = found;
    if (size % 97 == 0) check_recovery(folder.path());
  }
  CHECK(most == value_count);
}

TEST_CASE("A segment with garbage at its end, or in its middle, loses no sound record") {
  const ScratchFolder folder;
  fill(folder.path());
  const fs::path segment = only_file_below(folder.path() / "traces");
  const std::string whole = read_bytes(segment);
  for (const std::string& garbage : {std::string(1, 'C'), std::string("CLTR"), std::string(3000, 'x'),
                                     whole.substr(0, 80), whole.substr(0, whole.size() / 2), std::string(5000, '\0')}) {
    write_bytes(segment, whole + garbage);
    {
      auto store = Store::open(folder.path(), Store::Role::coordinator);
      REQUIRE(check_found_values(*store) == value_count);
      REQUIRE_FALSE(store->add(trace_of(*store, "after", small_value(9))));
      store->commit();
    }
    auto store = Store::open(folder.path(), Store::Role::reader);
    REQUIRE(check_found_values(*store) == value_count);
    REQUIRE(store->find(hash_bytes("after")) != nullptr);
  }
}

TEST_CASE("A flipped bit in any byte of a segment hides at most its record") {
  const ScratchFolder folder;
  fill(folder.path());
  const fs::path segment = only_file_below(folder.path() / "traces");
  const std::string whole = read_bytes(segment);
  for (std::size_t place = 0; place < whole.size(); ++place) {
    std::string damaged = whole;
    damaged[place] = static_cast<char>(damaged[place] ^ 1 << place % 8);
    write_bytes(segment, damaged);
    {
      auto store = Store::open(folder.path(), Store::Role::reader);
      REQUIRE(check_found_values(*store) == value_count - 1);
    }
    if (place % 97 == 0) check_recovery(folder.path());
  }
}

TEST_CASE("A blob with a flipped bit anywhere is quarantined and computed again") {
  const ScratchFolder folder;
  Value value = large_value(1100, 1);
  std::vector<float> sparse(40'000, 0.0f);
  for (std::size_t i = 0; i < sparse.size(); i += 37) sparse[i] = static_cast<float>(i + 1);
  const bool packed = GENERATE(false, true);
  if (packed) value.fields["weights"] = tensor_field(Blob::of<float>(DType::f32, sparse));
  Manifest manifest;
  {
    auto store = Store::open(folder.path(), Store::Role::coordinator);
    Trace trace = trace_of(*store, "k", value);
    manifest = trace.manifest;
    REQUIRE_FALSE(store->add(std::move(trace)));
    store->commit();
  }
  const fs::path file = only_file_below(folder.path() / "blobs");
  const std::string whole = read_bytes(file);
  const std::size_t step = packed ? 7 : 1;
  for (std::size_t place = 0; place < whole.size(); place += place < 128 ? 1 : step) {
    std::string damaged = whole;
    damaged[place] = static_cast<char>(damaged[place] ^ 1 << place % 8);
    fs::create_directories(file.parent_path());
    write_bytes(file, damaged);
    auto store = Store::open(folder.path(), Store::Role::coordinator);
    REQUIRE(store->find(hash_bytes("k")) != nullptr);  // looks for the file, does not read it
    INFO("byte " << place);
    try {
      store->get(manifest);
      FAIL("the damaged blob was served");
    } catch (const DamagedBlob& error) {
      REQUIRE(error.hash == manifest.fields.at("weights").tensors.at("tensor").hash);
      const std::string message = error.what();
      REQUIRE(message.find(file.string()) != std::string::npos);
      REQUIRE(message.find("; it was moved to " + (folder.path() / "quarantine").string()) != std::string::npos);
    }
    REQUIRE(store->find(hash_bytes("k")) == nullptr);
    REQUIRE_FALSE(fs::exists(file));
    REQUIRE(to_json(store->put(value)) == to_json(manifest));
    REQUIRE(store->find(hash_bytes("k")) != nullptr);
    REQUIRE(same(store->get(manifest), value));
  }
}

TEST_CASE("A blob in the place of another is not served") {
  const ScratchFolder folder;
  auto writer = Store::open(folder.path(), Store::Role::worker);
  const Manifest one = writer->put(large_value(1100, 1)), two = writer->put(large_value(1100, 2));
  const auto files = files_below(folder.path() / "blobs");
  REQUIRE(files.size() == 2);
  fs::remove(files[1]);
  fs::copy_file(files[0], files[1]);
  auto store = Store::open(folder.path(), Store::Role::worker);
  const bool first = one.fields.at("weights").tensors.at("tensor").hash.hex() == files[0].filename().string();
  CHECK(same(store->get(first ? one : two), large_value(1100, first ? 1 : 2)));
  CHECK_THROWS_AS(store->get(first ? two : one), DamagedBlob);
}

TEST_CASE("A blob cut off at any byte, empty or missing is never served") {
  const ScratchFolder folder;
  const Value value = large_value(1100, 1);
  auto writer = Store::open(folder.path(), Store::Role::worker);
  const Manifest manifest = writer->put(value);
  const fs::path file = only_file_below(folder.path() / "blobs");
  const std::string whole = read_bytes(file);
  for (std::size_t size = 0; size < whole.size(); size += size < 200 ? 1 : 31) {
    write_bytes(file, whole.substr(0, size));
    auto store = Store::open(folder.path(), Store::Role::worker);
    INFO(size << " bytes");
    REQUIRE_THROWS_AS(store->get(manifest), DamagedBlob);
    REQUIRE_THROWS_AS(store->get(manifest), DamagedBlob);  // missing by now
    REQUIRE_FALSE(store->has_blobs(manifest));
  }
  write_bytes(file, whole.substr(0, 100));
  auto store = Store::open(folder.path(), Store::Role::worker);
  store->put(value);  // does not take the torn file for the blob
  CHECK(same(store->get(manifest), value));
}

TEST_CASE("verify reads every blob") {
  const ScratchFolder folder;
  auto store = Store::open(folder.path(), Store::Role::coordinator);
  const Manifest one = store->put(large_value(2000, 1)), two = store->put(large_value(2000, 2));
  CHECK(store->verify().empty());
  const fs::path file = files_below(folder.path() / "blobs").front();
  std::string bytes = read_bytes(file);
  bytes[bytes.size() / 2] ^= 1;
  write_bytes(file, bytes);
  const std::vector<Hash> damaged = store->verify();
  REQUIRE(damaged.size() == 1);
  CHECK(damaged.front().hex() == file.filename().string());
  CHECK(store->has_blobs(one) != store->has_blobs(two));
  CHECK(files_below(folder.path() / "quarantine").size() == 1);
  CHECK(store->verify().empty());
}

TEST_CASE("A checkpoint cut off or flipped at any byte counts as absent") {
  const ScratchFolder folder;
  auto store = Store::open(folder.path(), Store::Role::worker);
  const Hash key = hash_bytes("training");
  Value state = large_value(300, 4);
  state.fields["steps"] = small_value(7).fields["result"];
  store->save_checkpoint(key, state);
  const fs::path file = only_file_below(folder.path() / "checkpoints");
  const std::string whole = read_bytes(file);
  for (std::size_t place = 0; place < whole.size(); ++place) {
    write_bytes(file, whole.substr(0, place));
    REQUIRE_FALSE(store->load_checkpoint(key));
    std::string damaged = whole;
    damaged[place] = static_cast<char>(damaged[place] ^ 1 << place % 8);
    write_bytes(file, damaged);
    REQUIRE_FALSE(store->load_checkpoint(key));
  }
  store->save_checkpoint(key, state);
  CHECK(same(*store->load_checkpoint(key), state));
}

TEST_CASE("A disk that is full is named, and nothing half is left") {
  const ScratchFolder folder;
  fill(folder.path());
  const auto traces = [&] { return read_bytes(only_file_below(folder.path() / "traces")); };
  const std::string before = traces();

  CHECK_THAT(in_child_with_file_limit(10'000,
                                      [&] {
                                        auto store = Store::open(folder.path(), Store::Role::worker);
                                        return message_of([&] { store->put(large_value(50'000, 1)); });
                                      }),
             Catch::StartsWith("environment: cannot write " + (folder.path() / "tmp").string()) &&
                 Catch::Contains("File too large"));
  CHECK(files_below(folder.path() / "blobs").empty());
  CHECK(files_below(folder.path() / "tmp").empty());

  CHECK_THAT(in_child_with_file_limit(before.size() + 100,
                                      [&] {
                                        auto store = Store::open(folder.path(), Store::Role::coordinator);
                                        store->add(trace_of(*store, "new", small_value(1)));
                                        return message_of([&] { store->commit(); });
                                      }),
             Catch::StartsWith("environment: cannot write " + (folder.path() / "traces").string()));
  CHECK(traces() == before);

  CHECK_THAT(in_child_with_file_limit(1000,
                                      [&] {
                                        auto store = Store::open(folder.path(), Store::Role::worker);
                                        return message_of(
                                            [&] { store->save_checkpoint(hash_bytes("k"), large_value(5000, 1)); });
                                      }),
             Catch::StartsWith("environment: cannot write "));
  CHECK(files_below(folder.path() / "checkpoints").empty());
  CHECK(files_below(folder.path() / "tmp").empty());

  const fs::path file = folder.path() / "results.csv";
  write_file_atomically(file, "old");
  CHECK(in_child_with_file_limit(1000, [&] {
          return message_of([&] { write_file_atomically(file, std::string(5000, 'x')); });
        }) == "environment: cannot write " + file.string() + ": File too large");
  CHECK(read_bytes(file) == "old");
  CHECK_FALSE(fs::exists(folder.path() / ".results.csv.tmp"));
}

TEST_CASE("A commit that failed can be tried again") {
  const ScratchFolder folder;
  fill(folder.path());
  const std::size_t size = read_bytes(only_file_below(folder.path() / "traces")).size();
  const std::string result = in_child_with_file_limit(size + 100, [&] {
    auto store = Store::open(folder.path(), Store::Role::coordinator);
    store->add(trace_of(*store, "new", small_value(1)));
    const std::string first = message_of([&] { store->commit(); });
    const bool still_found = store->find(hash_bytes("new")) != nullptr;
    const std::string second = message_of([&] { store->commit(); });
    return std::string(first == second && still_found ? "same" : "different");
  });
  CHECK(result == "same");
  check_recovery(folder.path());
}
