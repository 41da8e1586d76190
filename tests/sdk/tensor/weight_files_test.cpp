// Published weights, on the fixtures of tests/oracles/pytorch_files.py.
#include "colonnade/tensor/weight_files.h"

#include <ATen/Functions.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "colonnade/error.h"
#include "colonnade/json.h"

namespace colonnade {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;

std::string fixture(const std::string& name) {
  return std::string(COLONNADE_TEST_SOURCE_DIR) + "/tests/oracles/pytorch_files/" + name;
}

class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "colonnade-weights-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  fs::path operator/(const std::string& name) const { return path_ / name; }
  std::string string() const { return path_.string(); }

 private:
  fs::path path_;
};

std::string bytes_of(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  REQUIRE(stream);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::string refusal(const std::string& path) {
  try {
    const WeightFiles files(path);
    for (const auto& [name, entry] : files.tensors()) files.read(name);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::input);
    return error.what();
  }
  return "accepted";
}

void require_same(const WeightFiles& left, const WeightFiles& right) {
  REQUIRE(left.tensors().size() == right.tensors().size());
  for (const auto& [name, entry] : right.tensors()) {
    CAPTURE(name);
    REQUIRE(left.has(name));
    CHECK(left.tensors().at(name).type == entry.type);
    CHECK(left.tensors().at(name).shape == entry.shape);
    const Tensor tensor = left.read(name);
    CHECK(tensor.is_contiguous());
    CHECK(at::equal(tensor, right.read(name)));
  }
}

TEST_CASE("PyTorch's archives hold the tensors that safetensors hold, in one file or in shards") {
  const WeightFiles expected(fixture("weights.safetensors"));
  CHECK(expected.tensors().size() == 11);
  require_same(WeightFiles(fixture("weights.bin")), expected);
  const WeightFiles sharded(fixture("sharded"));
  require_same(sharded, expected);
  CHECK_THAT(sharded.path(), Contains("pytorch_model.bin.index.json"));
  CHECK_THAT(sharded.file_of("table"), Contains("-of-00002.bin"));
}

TEST_CASE("nothing in a pickle is executed") {
  CHECK_THAT(refusal(fixture("hostile_system.bin")), Contains("hostile_system.bin: its pickle asks for posix.system"));
  CHECK_FALSE(fs::exists("executed"));
  CHECK_THAT(refusal(fixture("hostile_eval.bin")), Contains("asks for builtins.eval"));
  CHECK_THAT(refusal(fixture("hostile_deep.bin")), Contains("nested more than"));
  CHECK_THAT(refusal(fixture("hostile_cycle.bin")), Contains("contains itself"));
  CHECK_THAT(refusal(fixture("hostile_list.bin")), Contains("no dictionary of tensors"));
  CHECK_THAT(refusal(fixture("legacy.bin")), Contains("before 1.6"));
}

TEST_CASE("a file cut anywhere, or with any byte changed, is read whole or refused by name") {
  const Folder folder;
  const std::string whole = bytes_of(fixture("weights.bin"));
  const std::string path = (folder / "weights.bin").string();
  const auto written = [&](const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
    return refusal(path);
  };
  for (std::size_t size = 0; size < whole.size(); size += 7) {
    CAPTURE(size);
    CHECK_THAT(written(whole.substr(0, size)), Contains(path + ": "));
  }
  for (std::size_t at = 0; at < whole.size(); at += 3) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x41);
    CAPTURE(at);
    const std::string result = written(damaged);
    CHECK((result == "accepted" || result.starts_with(path + ": ")));
  }
}

TEST_CASE("an index that does not agree with its shards is refused") {
  const Folder folder;
  for (const auto& entry : fs::directory_iterator(fixture("sharded")))
    fs::copy(entry.path(), folder / entry.path().filename());
  const std::string index = (folder / "pytorch_model.bin.index.json").string();
  const Json good = Json::parse(bytes_of(index));
  // The shards would not stand in the key of what is made of them.
  CHECK_THAT(refusal(index), Contains("give the folder"));
  const auto with = [&](const std::function<void(Json&)>& damage) {
    Json document = good;
    damage(document);
    std::ofstream(index) << document;
    return refusal(folder.string());
  };
  const std::string second = "pytorch_model-00002-of-00002.bin";
  CHECK(with([](Json&) {}) == "accepted");
  CHECK_THAT(with([](Json& d) { d.erase("weight_map"); }), Contains("no object 'weight_map'"));
  CHECK_THAT(with([](Json& d) { d["weight_map"]["table"] = "../else.bin"; }), Contains("a file beside the index"));
  CHECK_THAT(with([](Json& d) { d["weight_map"]["table"] = "none.bin"; }), Contains("none.bin: cannot be opened"));
  CHECK_THAT(with([&](Json& d) { d["weight_map"]["missing"] = second; }), Contains("'missing' lies in " + second));
  std::ofstream(index) << "[[[[";
  CHECK_THAT(refusal(folder.string()), Contains("index.json: is no index of shards"));
  fs::remove(index);
  CHECK_THAT(refusal(folder.string()), Contains("the folder has none of model.safetensors"));
}

}  // namespace
}  // namespace colonnade
