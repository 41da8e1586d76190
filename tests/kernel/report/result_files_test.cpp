#include "kernel/report/result_files.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <regex>

#include "tests/kernel/report/fixture.h"

namespace colonnade::host {

namespace {

// A .npy file as its format's description says, read by itself: magic, version, length of the header, header, data.
struct Npy {
  std::string dtype, shape, data;
};

Npy read_npy(const std::string& bytes) {
  REQUIRE(bytes.size() >= 10);
  CHECK(bytes.substr(0, 6) == "\x93NUMPY");
  CHECK(bytes[6] == 1);
  CHECK(bytes[7] == 0);
  const auto low = static_cast<unsigned char>(bytes[8]), high = static_cast<unsigned char>(bytes[9]);
  const std::size_t start = 10 + low + 256u * high;
  REQUIRE(bytes.size() >= start);
  CHECK(start % 64 == 0);
  CHECK(bytes[start - 1] == '\n');
  const std::string header = bytes.substr(10, start - 10);
  static const std::regex form(
      R"(\{'descr': '([|<][a-z]\d)', 'fortran_order': False, 'shape': (\([0-9, ]*\)), \} *\n)");
  std::smatch parts;
  REQUIRE(std::regex_match(header, parts, form));
  return {parts[1], parts[2], bytes.substr(start)};
}

template <typename T>
std::vector<T> elements(const Npy& npy) {
  std::vector<T> out(npy.data.size() / sizeof(T));
  std::memcpy(out.data(), npy.data.data(), npy.data.size());
  return out;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  CHECK(begin == text.size());
  return lines;
}

}  // namespace

TEST_CASE("A tensor as .npy has its dtype, its shape and its elements", "[report]") {
  const Npy matrix = read_npy(npy_bytes(Blob::of<double>(DType::f64, {1.5, -0.0, 3, 4, 5, 1e300}, {2, 3})));
  CHECK(matrix.dtype == "<f8");
  CHECK(matrix.shape == "(2, 3)");
  CHECK(elements<double>(matrix) == std::vector<double>{1.5, -0.0, 3, 4, 5, 1e300});
  CHECK(std::signbit(elements<double>(matrix)[1]));
  const Npy row =
      read_npy(npy_bytes(Blob::of<std::int64_t>(DType::i64, {-1, std::numeric_limits<std::int64_t>::max()})));
  CHECK(row.dtype == "<i8");
  CHECK(row.shape == "(2,)");
  CHECK(elements<std::int64_t>(row)[1] == std::numeric_limits<std::int64_t>::max());
  const std::uint8_t one = 1;
  const Npy number = read_npy(npy_bytes(Blob::copy(DType::boolean, {}, &one)));
  CHECK(number.dtype == "|b1");
  CHECK(number.shape == "()");
  CHECK(number.data == std::string(1, '\1'));
  const Npy empty = read_npy(npy_bytes(Blob::copy(DType::f32, {0, 7}, nullptr)));
  CHECK(empty.shape == "(0, 7)");
  CHECK(empty.data.empty());
}

TEST_CASE("Every dtype has NumPy's name and size", "[report]") {
  const std::vector<std::pair<DType, std::string>> names = {
      {DType::boolean, "|b1"}, {DType::u8, "|u1"},  {DType::i8, "|i1"},  {DType::i16, "<i2"}, {DType::i32, "<i4"},
      {DType::i64, "<i8"},     {DType::f16, "<f2"}, {DType::f32, "<f4"}, {DType::f64, "<f8"}};
  const std::vector<char> zeros(64, 0);
  for (const auto& [dtype, name] : names) {
    const Npy npy = read_npy(npy_bytes(Blob::copy(dtype, {5}, zeros.data())));
    CHECK(npy.dtype == name);
    CHECK(npy.data.size() == 5u * static_cast<std::size_t>(name.back() - '0'));
  }
}

TEST_CASE("bf16 is widened without changing a value", "[report]") {
  // 1, -2.5, infinity, the smallest above zero
  const Npy npy = read_npy(npy_bytes(Blob::of<std::uint16_t>(DType::bf16, {0x3f80, 0xc020, 0x7f80, 0x0001})));
  CHECK(npy.dtype == "<f4");
  CHECK(elements<float>(npy) ==
        std::vector<float>{1.0f, -2.5f, std::numeric_limits<float>::infinity(), std::ldexp(1.0f, -133)});
}

TEST_CASE("Headers of any length leave the data aligned", "[report]") {
  const float zero = 0;
  for (std::size_t rank = 0; rank < 40; ++rank) {
    const std::vector<std::int64_t> shape(rank, 1);
    CHECK(read_npy(npy_bytes(Blob::copy(DType::f32, shape, &zero))).data.size() == sizeof(zero));
  }
}

TEST_CASE("A table as .csv has a line for its names and one a row", "[report]") {
  Table table;
  table.add_column("site", "text");
  table.add_column("share, \"of\"", "real", "%");
  table.add_column("kept", "bool");
  table.add_row({"a,b", 0.1, true});
  table.add_row({"line\nbreak", -1e-300, false});
  const auto lines = lines_of(csv_text(table));
  REQUIRE(lines.size() == 4);
  CHECK(lines[0] == "site,\"share, \"\"of\"\"\",kept");
  CHECK(lines[1] == "\"a,b\",0.1,true");
  CHECK(lines[2] == "\"line");
  CHECK(lines[3] == "break\",-1e-300,false");
}

TEST_CASE("Declared files lie where the report says, measured ones apart", "[report]") {
  const ReportFolder folder;
  const StudyResults results = small_results();
  write_report(results, folder.path(), false);
  REQUIRE(results.files.size() == 3);
  const std::string report = file_text(folder.path() / "RESEARCH_REPORT.md");
  const std::string measured = file_text(folder.path() / "MEASURED_REPORT.md");
  const Json document = Json::parse(file_text(folder.path() / "comprehensive_results.json"));
  CHECK(document.at("files").size() == 2);
  for (const ResultFile& file : results.files) {
    INFO(file.path);
    CHECK(std::filesystem::is_regular_file(folder.path() / file.path));
    const std::string name = std::filesystem::path(file.path).filename();
    CHECK((report.find(name) != std::string::npos) != file.measured);
    CHECK((measured.find(name) != std::string::npos) == file.measured);
  }
  const Npy order = read_npy(file_text(folder.path() / "files/both/seed-1/order.npy"));
  CHECK(order.shape == "(2, 3)");
  CHECK(elements<std::int64_t>(order) == std::vector<std::int64_t>{2, 0, 1, -1, 1, 0});
  CHECK(lines_of(file_text(folder.path() / "files/layers.csv")).front() == "site,layer,change");
}

}  // namespace colonnade::host
