#include "colonnade/tensor/safetensors.h"

#include <ATen/Functions.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>

#include "colonnade/error.h"
#include "colonnade/json.h"

namespace colonnade {
namespace {

using Catch::Matchers::Contains;

class File {
 public:
  File() : path_((std::filesystem::temp_directory_path() / ("safetensors-" + std::to_string(::getpid()))).string()) {}
  ~File() { std::filesystem::remove(path_); }

  void write(const std::string& header, const std::string& data) const {
    const std::uint64_t length = header.size();
    std::ofstream out(path_, std::ios::binary | std::ios::trunc);
    out << std::string(reinterpret_cast<const char*>(&length), sizeof(length)) << header << data;
  }
  const std::string& path() const { return path_; }

  std::string error(const std::string& header, const std::string& data) const {
    write(header, data);
    try {
      open_safetensors(path_);
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::input);
      return error.what();
    }
    return "";
  }

 private:
  std::string path_;
};

std::string tensor(const std::string& name, int begin, int end) {
  return "\"" + name + "\": {\"dtype\": \"U8\", \"shape\": [" + std::to_string(end - begin) + "], \"data_offsets\": [" +
         std::to_string(begin) + ", " + std::to_string(end) + "]}";
}

}  // namespace

TEST_CASE("tensors fill a file's data, each byte once, in whatever order the header names them") {
  const File file;
  file.write("{" + tensor("b", 3, 8) + ", " + tensor("none", 3, 3) + ", " + tensor("a", 0, 3) + "}", "abcdefgh");
  const SafetensorsFile found = open_safetensors(file.path());
  REQUIRE(found.tensors.size() == 3);
  CHECK(read_tensor(found, "b")[0].item<std::int64_t>() == 'd');
  CHECK(read_tensor(found, "none").numel() == 0);
  file.write("{}", "");
  CHECK(open_safetensors(file.path()).tensors.empty());
}

TEST_CASE("bytes of two tensors and bytes of none are refused by name") {
  const File file;
  CHECK_THAT(file.error("{" + tensor("a", 0, 4) + ", " + tensor("b", 3, 8) + "}", "abcdefgh"),
             Contains("tensors 'a' and 'b' lie on the same bytes"));
  CHECK_THAT(file.error("{" + tensor("a", 0, 8) + ", " + tensor("b", 0, 8) + "}", "abcdefgh"),
             Contains("tensors 'a' and 'b' lie on the same bytes"));
  CHECK_THAT(file.error("{" + tensor("a", 0, 3) + ", " + tensor("b", 5, 8) + "}", "abcdefgh"),
             Contains("2 bytes before tensor 'b' belong to no tensor"));
  CHECK_THAT(file.error("{" + tensor("a", 1, 8) + "}", "abcdefgh"), Contains("1 bytes before tensor 'a'"));
  CHECK_THAT(file.error("{" + tensor("a", 0, 3) + "}", "abcdefgh"), Contains("5 bytes at its end belong to no tensor"));
  CHECK_THAT(file.error("{}", "abcdefgh"), Contains("8 bytes at its end"));
  CHECK_THAT(file.error("{" + tensor("a", 0, 9) + "}", "abcdefgh"), Contains("it is truncated or damaged"));
}

}  // namespace colonnade
