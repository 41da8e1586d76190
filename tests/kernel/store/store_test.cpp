#include "kernel/store/store.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>

#include "colonnade/error.h"
#include "tests/kernel/store/support.h"

using namespace colonnade;
using namespace colonnade::host;
using namespace colonnade::host::testing;

TEST_CASE("A small value lives in its trace, a large one in blobs, and both come back") {
  const ScratchFolder folder;
  const Value small = small_value(2.5), large = large_value(5000, 1);
  {
    auto store = Store::open(folder.path(), Store::Role::coordinator);
    REQUIRE_FALSE(store->add(trace_of(*store, "small", small)));
    REQUIRE_FALSE(store->add(trace_of(*store, "large", large)));
    CHECK(store->find(hash_bytes("small")) != nullptr);  // before the commit too
    store->commit();
  }
  CHECK(files_below(folder.path() / "blobs").size() == 1);
  auto store = Store::open(folder.path(), Store::Role::reader);
  const Trace* trace = store->find(hash_bytes("small"));
  REQUIRE(trace != nullptr);
  CHECK(trace->manifest.inline_blobs.size() == 1);
  CHECK(trace->op == "test/bitwise");
  CHECK(trace->key_record.at("params").at("name") == "small");
  CHECK(trace->seconds == 0.5);
  CHECK(trace->peak_memory == 1000);
  CHECK(same(store->get(trace->manifest), small));
  trace = store->find(hash_bytes("large"));
  REQUIRE(trace != nullptr);
  CHECK(trace->manifest.inline_blobs.empty());
  CHECK(trace->manifest.bytes() == 20000);
  const Value back = store->get(trace->manifest);
  CHECK(same(back, large));
  CHECK(store->find(hash_bytes("neither")) == nullptr);
  CHECK(store->traces_of("test/bitwise").size() == 2);
  CHECK(store->traces_of("test/other").empty());
}

TEST_CASE("Manifests survive their JSON") {
  const ScratchFolder folder;
  auto store = Store::open(folder.path(), Store::Role::worker);
  Value value = small_value(1);
  value.fields["vector"].carries = {"one", "two"};
  value.fields["text"] = record_field(std::string(10000, 'x'));
  const Manifest manifest = store->put(value);
  const Manifest back = manifest_from_json(to_json(manifest));
  CHECK(to_json(back) == to_json(manifest));
  CHECK(same(store->get(back), value));
  CHECK(store->get(back).fields.at("vector").carries == std::set<std::string>{"one", "two"});
  Json wrong = to_json(manifest);
  wrong["fields"]["vector"]["tensors"]["tensor"][3] = 1;
  CHECK_THROWS_AS(manifest_from_json(wrong), Error);
  CHECK_THROWS_AS(manifest_from_json(Json::array()), Error);
}

TEST_CASE("A value that need not outlast a power cut is stored the same, and can be made to") {
  const ScratchFolder folder, other;
  const auto store = Store::open(folder.path(), Store::Role::worker);
  const Value value = large_value(5000, 4);
  const Json quick = to_json(store->put(value, Durability::kill));
  CHECK(to_json(store->put(value, Durability::power_cut)) == quick);
  CHECK(to_json(Store::open(other.path(), Store::Role::worker)->put(value)) == quick);
  CHECK(same(store->get(manifest_from_json(quick)), value));
}

TEST_CASE("Equal tensors share one file, and sparse ones are packed") {
  const ScratchFolder folder;
  auto store = Store::open(folder.path(), Store::Role::worker);
  Value value = large_value(50000, 3);
  value.fields["again"] = value.fields["weights"];
  store->put(value);
  CHECK(files_below(folder.path() / "blobs").size() == 1);

  std::vector<float> sparse(100'003, 0.0f);
  for (std::size_t i = 0; i < sparse.size(); i += 20) sparse[i] = static_cast<float>(i) + 0.5f;
  sparse[7] = -0.0f;
  Value masked;
  masked.fields["w"] = tensor_field(Blob::of<float>(DType::f32, sparse));
  const Manifest manifest = store->put(masked);
  std::uintmax_t smallest = 1 << 30;
  for (const auto& file : files_below(folder.path() / "blobs"))
    smallest = std::min(smallest, std::filesystem::file_size(file));
  CHECK(smallest < sparse.size() * sizeof(float) / 8);
  auto reader = Store::open(folder.path(), Store::Role::reader);
  CHECK(same(reader->get(manifest), masked));
}

TEST_CASE("Every kind of tensor survives") {
  const ScratchFolder folder;
  auto store = Store::open(folder.path(), Store::Role::worker);
  std::string bytes(9000 * 8, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 >> 3);
  Value value;
  for (const DType dtype : {DType::boolean, DType::u8, DType::i8, DType::i16, DType::i32, DType::i64, DType::f16,
                            DType::bf16, DType::f32, DType::f64}) {
    Field field{"any", Json::object(), {}, {}};
    field.tensors["matrix"] = Blob::copy(dtype, {9, 1000}, bytes.data());
    field.tensors["scalar"] = Blob::copy(dtype, {}, bytes.data() + 64);
    field.tensors["empty"] = Blob::copy(dtype, {0, 5}, bytes.data());
    value.fields[std::string(dtype_name(dtype))] = field;
  }
  const Manifest manifest = store->put(value);
  auto reader = Store::open(folder.path(), Store::Role::reader);
  const Value back = reader->get(manifest);
  CHECK(same(back, value));
  const Blob matrix = back.at("f64").tensors.at("matrix");
  CHECK(matrix.shape() == std::vector<std::int64_t>{9, 1000});
  CHECK(reinterpret_cast<std::uintptr_t>(matrix.data()) % 64 == 0);
}

TEST_CASE("Another content under the key of a bitwise op is reported, and the first one stays") {
  const ScratchFolder folder;
  auto store = Store::open(folder.path(), Store::Role::coordinator);
  REQUIRE_FALSE(store->add(trace_of(*store, "k", small_value(1))));
  const auto report = store->add(trace_of(*store, "k", small_value(2)));
  REQUIRE(report);
  CHECK(report->key == hash_bytes("k"));
  CHECK(report->op == "test/bitwise");
  CHECK(report->fields == std::vector<std::string>{"result", "vector"});
  CHECK_FALSE(store->add(trace_of(*store, "k", small_value(1))));
  store->commit();
  CHECK(store->traces_of("test/bitwise").size() == 1);
  CHECK(same(store->get(store->find(hash_bytes("k"))->manifest), small_value(1)));
  // Ops that may differ keep what was found first.
  REQUIRE_FALSE(store->add(trace_of(*store, "m", small_value(1), "measured")));
  REQUIRE_FALSE(store->add(trace_of(*store, "m", small_value(2), "measured")));
  CHECK(same(store->get(store->find(hash_bytes("m"))->manifest), small_value(1)));
}

TEST_CASE("A dropped value may only come back as it was") {
  const ScratchFolder folder;
  auto store = Store::open(folder.path(), Store::Role::coordinator);
  REQUIRE_FALSE(store->add(trace_of(*store, "k", large_value(5000, 1))));
  store->commit();
  for (const auto& file : files_below(folder.path() / "blobs")) std::filesystem::remove(file);
  CHECK(store->find(hash_bytes("k")) == nullptr);
  CHECK(store->find_even_without_blobs(hash_bytes("k")) != nullptr);
  CHECK(store->add(trace_of(*store, "k", large_value(5000, 2))));
  CHECK(store->find(hash_bytes("k")) == nullptr);
  CHECK_FALSE(store->add(trace_of(*store, "k", large_value(5000, 1))));
  CHECK(store->find(hash_bytes("k")) != nullptr);
}

TEST_CASE("Two coordinators and a reader share a store") {
  const ScratchFolder folder;
  auto one = Store::open(folder.path(), Store::Role::coordinator);
  auto two = Store::open(folder.path(), Store::Role::coordinator);
  auto reader = Store::open(folder.path(), Store::Role::reader);
  for (int i = 0; i < 20; ++i) {
    Store& writer = i % 2 == 0 ? *one : *two;
    REQUIRE_FALSE(writer.add(trace_of(writer, "k" + std::to_string(i), small_value(i))));
    writer.commit();
  }
  CHECK(files_below(folder.path() / "traces").size() == 2);
  CHECK(one->find(hash_bytes("k1")) == nullptr);
  for (Store* store : {one.get(), two.get(), reader.get()}) {
    store->refresh();
    for (int i = 0; i < 20; ++i) {
      const Trace* trace = store->find(hash_bytes("k" + std::to_string(i)));
      REQUIRE(trace != nullptr);
      CHECK(same(store->get(trace->manifest), small_value(i)));
    }
    CHECK(store->traces_of("test/bitwise").size() == 20);
  }
  one.reset();
  two.reset();
  auto three = Store::open(folder.path(), Store::Role::coordinator);
  REQUIRE_FALSE(three->add(trace_of(*three, "k20", small_value(20))));
  three->commit();
  CHECK(files_below(folder.path() / "traces").size() == 2);  // an idle segment is taken over
}

TEST_CASE("Only a coordinator adds traces, and a reader creates nothing") {
  const ScratchFolder folder;
  auto reader = Store::open(folder.path() / "none", Store::Role::reader);
  CHECK(reader->find(hash_bytes("k")) == nullptr);
  CHECK_FALSE(std::filesystem::exists(folder.path() / "none"));
  auto worker = Store::open(folder.path() / "s", Store::Role::worker);
  CHECK_THROWS_AS(worker->add(trace_of(*worker, "k", small_value(1))), Error);
}

TEST_CASE("A store of another format is refused by name") {
  const ScratchFolder folder;
  Store::open(folder.path(), Store::Role::worker);
  write_bytes(folder.path() / "format", "colonnade-store 1\n");
  CHECK_THROWS_WITH(
      Store::open(folder.path(), Store::Role::worker),
      (folder.path() / "format").string() +
          " says 'colonnade-store 1'; this version of Colonnade reads 'colonnade-store 2': use the version "
          "that wrote the store, or move the store away");
}

namespace {

// The signal that ended a child which writes to the tensor.
int signal_of_writing_to(const Blob& blob) {
  const pid_t child = ::fork();
  if (child == 0) {
    for (const int number : {SIGSEGV, SIGBUS}) ::signal(number, SIG_DFL);
    *const_cast<volatile std::byte*>(blob.data()) = std::byte{7};
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

}  // namespace

TEST_CASE("Writing to a tensor of the store faults, and the store knows the address") {
  const ScratchFolder folder;
  auto store = Store::open(folder.path(), Store::Role::worker);
  std::vector<float> sparse(100'000, 0.0f);
  sparse[5] = 1;
  Value packed;
  packed.fields["tensor"] = tensor_field(Blob::of<float>(DType::f32, sparse));
  for (const Value& value : {small_value(1), large_value(5000, 1), packed}) {
    const Value back = store->get(store->put(value));
    for (const auto& [name, field] : back.fields) {
      for (const auto& [tensor, blob] : field.tensors) {
        CHECK(store->is_mapped(blob.data()));
        CHECK(store->is_mapped(blob.data() + blob.size() - 1));
        CHECK(signal_of_writing_to(blob) == SIGSEGV);
      }
    }
  }
  const void* gone = store->get(store->put(large_value(7000, 9))).at("weights").tensors.at("tensor").data();
  CHECK_FALSE(store->is_mapped(gone));
  CHECK_FALSE(store->is_mapped(&folder));
}

TEST_CASE("Checkpoints come back whole, under their key only, until dropped") {
  const ScratchFolder folder;
  auto store = Store::open(folder.path(), Store::Role::worker);
  const Hash key = hash_bytes("training");
  CHECK_FALSE(store->load_checkpoint(key));
  Value state = large_value(3000, 4);
  state.fields["small"] = small_value(3).fields["vector"];
  state.fields["small"].carries = {"model"};
  store->save_checkpoint(key, large_value(10, 0));
  store->save_checkpoint(key, state);
  const std::optional<Value> back = store->load_checkpoint(key);
  REQUIRE(back);
  CHECK(same(*back, state));
  CHECK(back->at("small").carries == std::set<std::string>{"model"});
  CHECK(store->is_mapped(back->at("weights").tensors.at("tensor").data()));
  const Hash other = hash_bytes("other");
  std::filesystem::copy_file(folder.path() / "checkpoints" / key.hex(), folder.path() / "checkpoints" / other.hex());
  CHECK_FALSE(store->load_checkpoint(other));
  store->drop_checkpoint(key);
  store->drop_checkpoint(key);
  CHECK_FALSE(store->load_checkpoint(key));
}

TEST_CASE("Opening 1,000 traces and finding them takes milliseconds") {
  const ScratchFolder folder;
  constexpr int count = 1000;
  {
    auto store = Store::open(folder.path(), Store::Role::coordinator);
    for (int i = 0; i < count; ++i) REQUIRE_FALSE(store->add(trace_of(*store, std::to_string(i), small_value(i))));
    store->commit();
  }
  const auto start = std::chrono::steady_clock::now();
  auto store = Store::open(folder.path(), Store::Role::reader);
  const auto opened = std::chrono::steady_clock::now();
  int found = 0;
  for (int i = 0; i < count; ++i) found += store->find(hash_bytes(std::to_string(i))) != nullptr;
  const auto ended = std::chrono::steady_clock::now();
  CHECK(found == count);
  const auto milliseconds = [](auto a, auto b) { return std::chrono::duration<double, std::milli>(b - a).count(); };
  INFO("opened in " << milliseconds(start, opened) << " ms, found in " << milliseconds(opened, ended) << " ms");
  CHECK(milliseconds(start, opened) < 50);    // a few; the bound leaves room for a busy machine and a debug build
  CHECK(milliseconds(opened, ended) < 2000);  // under sanitizers about a second
}
