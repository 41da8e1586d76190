#include "colonnade/files.h"

#include <catch2/catch.hpp>
#include <string>

#include "colonnade/error.h"

using namespace colonnade;
using Catch::Matchers::Contains;

namespace {

Files with(const std::vector<std::string>& names) {
  Files files;
  files.format = "text";
  for (const std::string& name : names) files.files.emplace(name, file_bytes(name));
  return files;
}

std::string text_of(const Blob& blob) {
  return {blob.as<char>(), blob.size()};
}

}  // namespace

TEST_CASE("files come back from a field as they were") {
  Files files = with({"config.json", "weights/part-1.safetensors", "weights/part-2.safetensors", "été.txt"});
  files.files.insert_or_assign("empty", file_bytes(""));
  const Field field = to_field(files);
  CHECK(field.type == "files");
  CHECK(field.document == Json{{"format", "text"}});
  const Files back = files_from(field);
  CHECK(back.format == "text");
  REQUIRE(back.files.size() == 5);
  CHECK(text_of(back.files.at("weights/part-1.safetensors")) == "weights/part-1.safetensors");
  CHECK(back.files.at("empty").size() == 0);
}

TEST_CASE("a name that would leave the folder, or that some file system refuses, is refused with its reason") {
  const auto refused = [](const std::string& name, const std::string& why) {
    CAPTURE(name);
    CHECK_THROWS_WITH(check_file_name(name), Contains("is no name for a file") && Contains(why));
    CHECK_THROWS_AS(to_field(with({"good", name})), Error);
  };
  refused("", "empty");
  refused("/etc/passwd", "absolute");
  refused("..", "'..'");
  refused("a/../../b", "'..'");
  refused("a/./b", "'.'");
  refused("a//b", "empty");
  refused("a/", "empty");
  refused("a\\b", "\\");
  refused("c:d", ":");
  refused("dot.", "dot or a space");
  refused("folder /x", "dot or a space");
  refused(std::string("a\0b", 3), "control");
  refused("a\nb", "control");
  refused("\xff", "UTF-8");
  refused(std::string(256, 'a'), "255");
  CHECK_NOTHROW(check_file_name(std::string(255, 'a') + "/.hidden/a..b/c d"));
}

TEST_CASE("names that would meet in one file are refused") {
  CHECK_THROWS_WITH(to_field(with({"README", "Readme"})), Contains("'README' and 'Readme' differ only in case"));
  CHECK_THROWS_WITH(to_field(with({"A", "a/b/c"})), Contains("'A' is a file and the folder of 'a/b/c'"));
  CHECK_NOTHROW(to_field(with({"a", "a.b/c", "ab"})));
  CHECK_THROWS_WITH(to_field(with({})), Contains("none"));
}

TEST_CASE("a field that is no files says what it is") {
  CHECK_THROWS_WITH(files_from(record_field(1)), Contains("'record'") && Contains("'files'"));
  Field field = to_field(with({"a"}));
  field.document = Json::object();
  CHECK_THROWS_WITH(files_from(field), Contains("format"));
  field = to_field(with({"a"}));
  field.tensors.insert_or_assign("a", Blob::of(DType::i32, std::vector<std::int32_t>{1}));
  CHECK_THROWS_WITH(files_from(field), Contains("'a' is no row of bytes"));
  field = to_field(with({"a"}));
  field.tensors.emplace("../a", file_bytes("x"));
  CHECK_THROWS_AS(files_from(field), Error);
}
