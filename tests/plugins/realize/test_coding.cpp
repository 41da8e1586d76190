#include <ATen/Functions.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "colonnade/random_words.h"
#include "plugins/realize/matrix_code.h"
#include "plugins/realize/positions.h"
#include "tests/support/small_model.h"

namespace colonnade::realize {

namespace {

using Catch::Matchers::Contains;

constexpr ValueType every_type[] = {ValueType::fp32, ValueType::fp16, ValueType::bf16, ValueType::int8,
                                    ValueType::sign};

Tensor thinned(std::int64_t rows, std::int64_t columns, double density, std::uint64_t seed = 1) {
  const RandomStream random = RandomStream(seed).at("thinned");
  const Tensor keep = random_uniform(random.at("keep"), {rows, columns}, at::kDouble) < density;
  return random_normal(random, {rows, columns}, at::kFloat) * 0.01 * keep;
}

std::vector<std::int64_t> round_trip(const std::vector<std::int64_t>& positions, std::uint64_t limit,
                                     std::size_t* bytes = nullptr) {
  PositionEncoder encoder;
  for (const std::int64_t position : positions) encoder.add(static_cast<std::uint64_t>(position));
  ByteWriter writer;
  const std::string code = encoder.finish();
  write_positions(writer, positions.size(), code);
  CHECK(writer.size() == positions_size(positions.size(), code));
  if (bytes != nullptr) *bytes = writer.size();
  ByteReader reader(writer.bytes(), "test");
  auto read = read_positions(reader, limit);
  CHECK(reader.left() == 0);
  return read;
}

double entropy_bytes(double n, double density) {
  return -n * (density * std::log2(density) + (1 - density) * std::log2(1 - density)) / 8;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.sizes() == b.sizes() && at::equal(a.contiguous().view(at::kInt), b.contiguous().view(at::kInt));
}

}  // namespace

TEST_CASE("sets of positions come back, whatever they are") {
  CHECK(round_trip({}, 0).empty());
  const std::vector<std::vector<std::int64_t>> sets = {
      {0}, {7}, {0, 1, 2, 3}, {5, 1'000'000'000'000}, {std::int64_t{1} << 62}};
  for (const auto& set : sets) CHECK(round_trip(set, std::uint64_t{1} << 63) == set);
  for (const double density : {0.001, 0.1, 0.5, 0.99}) {
    std::vector<std::int64_t> set;
    for (std::int64_t i = 0; i < 3000; ++i) {
      if (RandomStream(3).uniform(static_cast<std::uint64_t>(i)) < density) set.push_back(i);
    }
    CHECK(round_trip(set, 3000) == set);
  }
}

TEST_CASE("positions at random take their entropy, and no more than a few percent above") {
  constexpr std::int64_t n = 768 * 768;
  for (const double density : {0.001, 0.005, 0.05, 0.5, 0.95}) {
    std::vector<std::int64_t> set;
    for (std::int64_t i = 0; i < n; ++i) {
      if (RandomStream(4).uniform(static_cast<std::uint64_t>(i)) < density) set.push_back(i);
    }
    std::size_t bytes = 0;
    CHECK(round_trip(set, n, &bytes) == set);
    const double bound = entropy_bytes(n, static_cast<double>(set.size()) / n);
    INFO("density " << density << ": " << bytes << " bytes, entropy " << bound);
    // Learning the contexts costs some 40 bytes, which count at .1 %: 590 positions.
    CHECK(static_cast<double>(bytes) < 1.02 * bound + 40);
    CHECK(static_cast<double>(bytes) > 0.98 * bound);
  }
}

TEST_CASE("rounding is what decoding gives, and changes nothing the second time") {
  const Tensor matrix = thinned(37, 53, 0.4) * random_normal(RandomStream(9), {37, 1}, at::kFloat).exp();
  for (const ValueType type : every_type) {
    for (const Groups groups : {Groups::whole, Groups::rows}) {
      const Tensor once = round_values(matrix, type, groups, "a matrix");
      CHECK(same_bits(round_values(once, type, groups, "a matrix"), once));
      CHECK(at::logical_and(matrix == 0, once != 0).any().item<bool>() == false);
      const MatrixCode code = encode_matrix(once, type, groups);
      ByteReader reader(code.bytes, "test");
      CHECK(same_bits(decode_matrix(reader, 37, 53, type, groups).matrix, once));
      CHECK(reader.left() == 0);
      const double error = small::relative_error(once, matrix);
      // Half a unit in the last place of the largest; of int8 half a step of 1/127, signs keep no sizes.
      const double most = type == ValueType::fp32   ? 0
                          : type == ValueType::fp16 ? 4.9e-4
                          : type == ValueType::bf16 ? 4e-3
                                                    : 4e-3;
      if (type != ValueType::sign) CHECK(error <= most);
    }
  }
}

TEST_CASE("the form taken is the cheapest: empty, dense, sparse, structured") {
  const auto form_of = [](const Tensor& matrix, ValueType type = ValueType::fp32) {
    const Tensor rounded = round_values(matrix, type, Groups::whole, "a matrix");
    const MatrixCode code = encode_matrix(rounded, type, Groups::whole);
    ByteReader reader(code.bytes, "test");
    CHECK(same_bits(decode_matrix(reader, matrix.size(0), matrix.size(1), type, Groups::whole).matrix, rounded));
    return std::pair(std::string(form_name(code.form)), code.bytes.size());
  };
  CHECK(form_of(at::zeros({30, 20}, at::kFloat)) == std::pair(std::string("empty"), std::size_t{1}));
  CHECK(form_of(thinned(30, 20, 1)) == std::pair(std::string("dense"), std::size_t{1 + 4 * 600}));
  CHECK(form_of(thinned(30, 20, 1), ValueType::sign).second == 1 + 4 + 75);
  CHECK(form_of(thinned(100, 100, 0.05)).first == "sparse");
  Tensor rows = thinned(100, 100, 1);
  rows.slice(0, 0, 60).zero_();
  rows.slice(1, 10, 30).zero_();
  const auto structured = form_of(rows);
  CHECK(structured.first == "structured");
  CHECK(structured.second < 4 * 40 * 80 + 40);
  // A size of one element, with a bit pattern that only compares equal to zero.
  CHECK(form_of(at::full({1, 1}, -0.0, at::kFloat)).first == "dense");
}

TEST_CASE("a drawn mask's two numbers stand for its positions, where they hold") {
  constexpr std::int64_t rows = 200, columns = 300;
  const DrawnMask drawn{RandomStream(11).at("site"), word_threshold(0.98)};
  Tensor matrix = thinned(rows, columns, 1);
  std::int64_t kept = 0;
  float* values = matrix.data_ptr<float>();
  for (std::int64_t i = 0; i < matrix.numel(); ++i) {
    const bool keep = random_word(drawn.numbers, static_cast<std::uint64_t>(i)) >= drawn.threshold;
    if (!keep) values[i] = 0;
    kept += keep ? 1 : 0;
  }
  for (const ValueType type : every_type) {
    const Tensor rounded = round_values(matrix, type, Groups::whole, "a matrix");
    const MatrixCode code = encode_matrix(rounded, type, Groups::whole, {drawn});
    const bool exact = type != ValueType::sign || (rounded != 0).sum().item<std::int64_t>() == kept;
    if (!exact) continue;
    CHECK(code.form == Form::seeded);
    CHECK(code.bytes.size() <= 1 + 8 + 5 + group_size(type, static_cast<std::uint64_t>(kept)));
    ByteReader reader(code.bytes, "test");
    CHECK(same_bits(decode_matrix(reader, rows, columns, type, Groups::whole).matrix, rounded));
  }
  // An element that these numbers drop: positions have to be stored.
  for (std::int64_t i = 0; i < matrix.numel(); ++i) {
    if (values[i] != 0) continue;
    values[i] = 1;
    break;
  }
  CHECK(encode_matrix(matrix, ValueType::fp32, Groups::whole, {drawn}).form == Form::sparse);
}

TEST_CASE("numbers that a type cannot hold, and NaN, are refused by name") {
  Tensor matrix = thinned(4, 4, 1);
  matrix[1][2] = 1e6;
  const auto error = [&](ValueType type) {
    return small::error_of([&] { round_values(matrix, type, Groups::whole, "the weight of site 'x'"); });
  };
  CHECK_THAT(error(ValueType::fp16), Contains("the weight of site 'x'") && Contains("fp16 cannot hold"));
  CHECK(error(ValueType::bf16).empty());
  matrix[1][2] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THAT(error(ValueType::int8), Contains("NaN in the weight of site 'x'"));
}

TEST_CASE("a code cut short or changed anywhere gives a matrix or an error, never more") {
  const Tensor sparse = thinned(40, 60, 0.1), rows = thinned(40, 60, 1) * (at::arange(40) < 7).reshape({-1, 1});
  for (const Tensor& matrix : {sparse, rows}) {
    for (const ValueType type : {ValueType::fp32, ValueType::int8, ValueType::sign}) {
      const Tensor rounded = round_values(matrix, type, Groups::rows, "a matrix");
      const std::string whole = encode_matrix(rounded, type, Groups::rows).bytes;
      const auto decode = [&](const std::string& bytes) {
        return small::error_of([&] {
          ByteReader reader(bytes, "a.patch, tensor 'x'");
          decode_matrix(reader, 40, 60, type, Groups::rows);
        });
      };
      for (std::size_t length = 0; length < whole.size(); length += 1 + length / 16) {
        CHECK_THAT(decode(whole.substr(0, length)), Contains("a.patch, tensor 'x': "));
      }
      for (std::size_t at = 0; at < whole.size(); ++at) {
        std::string changed = whole;
        changed[at] = static_cast<char>(RandomStream(at).bits(0));
        const std::string error = decode(changed);
        if (!error.empty()) CHECK_THAT(error, Contains("a.patch, tensor 'x': "));
      }
    }
  }
}

}  // namespace colonnade::realize
