#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <set>

#include "colonnade/error.h"
#include "colonnade/run_op.h"
#include "colonnade/tokens.h"
#include "plugins/ngram/ngram.h"
#include "tests/support/plugins.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade {

namespace {

Tokens make_tokens(const std::vector<std::uint8_t>& ids, std::int64_t vocabulary_size) {
  Tokens tokens;
  tokens.ids = Blob::of(DType::u8, ids);
  tokens.vocabulary = vocabulary_size == 256 ? "bytes" : "digits";
  tokens.vocabulary_size = vocabulary_size;
  tokens.bytes = tokens.count();
  return tokens;
}

std::vector<std::uint8_t> random_ids(std::int64_t count, std::uint64_t vocabulary, std::uint64_t seed) {
  const RandomStream random = RandomStream(seed).at("ids");
  std::vector<std::uint8_t> ids;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::uint64_t>(i);
    // Half of the tokens follow from the one before, so that contexts matter.
    const bool follows = i > 0 && random.uniform(2 * at) < 0.5;
    ids.push_back(
        static_cast<std::uint8_t>(follows ? (ids.back() * 2u + 1) % vocabulary : random.below(2 * at + 1, vocabulary)));
  }
  return ids;
}

using Ids = std::vector<std::uint8_t>;

// The definition, by counting: how often `gram` stands in the text as a context with something after it (`followed`),
// or at all.
std::int64_t occurrences(const Ids& text, const Ids& gram, bool followed) {
  std::int64_t count = 0;
  const std::size_t last = text.size() - (followed ? 1 : 0);
  for (std::size_t i = 0; i + gram.size() <= last; ++i)
    count += std::equal(gram.begin(), gram.end(), text.begin() + static_cast<std::ptrdiff_t>(i));
  return count;
}

double witten_bell(const Ids& text, Ids context, std::uint8_t token, int vocabulary) {
  Ids shorter(context.begin() + (context.empty() ? 0 : 1), context.end());
  const double below = context.empty() ? 1.0 / vocabulary : witten_bell(text, shorter, token, vocabulary);
  const std::int64_t total =
      context.empty() ? static_cast<std::int64_t>(text.size()) : occurrences(text, context, true);
  if (total == 0) return below;
  std::int64_t kinds = 0;
  const auto times = [&](int next) {
    Ids gram = context;
    gram.push_back(static_cast<std::uint8_t>(next));
    return occurrences(text, gram, false);
  };
  for (int next = 0; next < vocabulary; ++next) kinds += times(next) > 0;
  return (static_cast<double>(times(token)) + static_cast<double>(kinds) * below) / static_cast<double>(total + kinds);
}

Value run_ngram(const Tokens& data, const Tokens& on, Json params) {
  register_linked_plugin(colonnade_plugin);
  RunRequest request;
  request.op = "ngram/ngram";
  request.params = std::move(params);
  request.inputs = {{"data", to_field(data)}, {"on", to_field(on)}};
  return run_op(request);
}

std::string error_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// A testament of the default text, cut 90/5/5 by bytes.
using Testament = std::map<std::string, Tokens>;
Testament read_testament(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  const Ids bytes{std::istreambuf_iterator<char>(in), {}};
  const auto at = [&](double share) {
    return bytes.begin() + static_cast<std::ptrdiff_t>(static_cast<double>(bytes.size()) * share);
  };
  Testament testament;
  testament["train"] = make_tokens({bytes.begin(), at(0.90)}, 256);
  testament["valid"] = make_tokens({at(0.90), at(0.95)}, 256);
  testament["test"] = make_tokens({at(0.95), bytes.end()}, 256);
  return testament;
}

}  // namespace

TEST_CASE("n-gram probabilities are Witten and Bell's, by counting") {
  for (const int vocabulary : {1, 2, 5}) {
    const Ids text = random_ids(60, static_cast<std::uint64_t>(vocabulary), 1);
    const Ids scored = random_ids(25, static_cast<std::uint64_t>(vocabulary), 2);
    for (int order = 1; order <= 5; ++order) {
      const NgramModel model(make_tokens(text, vocabulary), order);
      std::vector<double> distribution;
      for (std::size_t i = 0; i < scored.size(); ++i) {
        model.predict(make_tokens(scored, vocabulary), static_cast<std::int64_t>(i), distribution);
        const std::size_t length = std::min<std::size_t>(i, static_cast<std::size_t>(order - 1));
        const Ids context(scored.begin() + static_cast<std::ptrdiff_t>(i - length),
                          scored.begin() + static_cast<std::ptrdiff_t>(i));
        REQUIRE(distribution.size() == static_cast<std::size_t>(vocabulary));
        double sum = 0;
        for (int token = 0; token < vocabulary; ++token) {
          INFO("vocabulary " << vocabulary << ", order " << order << ", position " << i << ", token " << token);
          const double probability = distribution[static_cast<std::size_t>(token)];
          CHECK(probability ==
                Approx(witten_bell(text, context, static_cast<std::uint8_t>(token), vocabulary)).epsilon(1e-12));
          sum += probability;
        }
        CHECK(sum == Approx(1).epsilon(1e-12));
      }
    }
  }
}

TEST_CASE("contexts and tokens never seen have a probability") {
  const NgramModel model(make_tokens({0, 1, 0, 1, 0, 1}, 4), 3);
  std::vector<double> distribution;
  model.predict(make_tokens({3, 3, 2}, 4), 2, distribution);
  for (const double probability : distribution) CHECK(probability > 0);
  CHECK(distribution[2] == distribution[3]);
}

TEST_CASE("the op's numbers are the means over tokens, with errors from windows") {
  constexpr int vocabulary = 5, order = 2, length = 7;
  const Ids text = random_ids(80, vocabulary, 3), scored = random_ids(38, vocabulary, 4);
  const Value value =
      run_ngram(make_tokens(text, vocabulary), make_tokens(scored, vocabulary), {{"order", order}, {"length", length}});
  const Scalar nats = scalar_from(value.at("nats")), perplexity = scalar_from(value.at("perplexity")),
               accuracy = scalar_from(value.at("accuracy"));

  std::vector<double> losses, hits;
  for (std::size_t i = 1; i < scored.size(); ++i) {
    std::vector<double> each;
    for (int token = 0; token < vocabulary; ++token)
      each.push_back(witten_bell(text, {scored[i - 1]}, static_cast<std::uint8_t>(token), vocabulary));
    losses.push_back(-std::log(each[scored[i]]));
    hits.push_back(std::max_element(each.begin(), each.end()) - each.begin() == scored[i] ? 1 : 0);
  }
  const auto mean = [](const std::vector<double>& values) {
    double sum = 0;
    for (const double each : values) sum += each;
    return sum / static_cast<double>(values.size());
  };
  CHECK(nats.n == 37);
  CHECK(nats.value == Approx(mean(losses)).epsilon(1e-12));
  CHECK(accuracy.value == Approx(mean(hits)).epsilon(1e-12));
  CHECK(perplexity.value == Approx(std::exp(mean(losses))).epsilon(1e-12));
  CHECK(perplexity.better == Better::lower);
  CHECK(accuracy.better == Better::higher);

  // Five windows of 7 and one of 2: the error of a ratio of sums.
  REQUIRE(nats.per_example.size() == 6);
  CHECK(nats.per_example[0] == Approx(mean({losses.begin(), losses.begin() + length})).epsilon(1e-12));
  CHECK(nats.per_example[5] == Approx((losses[35] + losses[36]) / 2).epsilon(1e-12));
  double squares = 0;
  for (std::size_t window = 0; window < 6; ++window) {
    double residual = 0;
    for (std::size_t i = window * length; i < std::min<std::size_t>(37, (window + 1) * length); ++i)
      residual += losses[i] - nats.value;
    squares += residual * residual;
  }
  REQUIRE(nats.standard_error.has_value());
  CHECK(*nats.standard_error == Approx(std::sqrt(squares * 6 / 5) / 37).epsilon(1e-12));
  REQUIRE(perplexity.standard_error.has_value());
  CHECK(*perplexity.standard_error == Approx(perplexity.value * *nats.standard_error).epsilon(1e-12));
}

TEST_CASE("a model's parameters are its different grams, its operations four an order") {
  const Ids text = random_ids(60, 3, 5);
  std::set<Ids> grams;
  for (std::size_t length = 1; length <= 3; ++length) {
    for (std::size_t i = 0; i + length <= text.size(); ++i)
      grams.insert(
          Ids(text.begin() + static_cast<std::ptrdiff_t>(i), text.begin() + static_cast<std::ptrdiff_t>(i + length)));
  }
  const Value value = run_ngram(make_tokens(text, 3), make_tokens(text, 3), {{"order", 3}});
  CHECK(scalar_from(value.at("parameters")).value == static_cast<double>(grams.size()));
  CHECK(scalar_from(value.at("flops")).value == 4 * 3);
}

TEST_CASE("texts that cannot be compared are refused, and one window has no error") {
  const Tokens four = make_tokens({0, 1, 2, 3, 0, 1}, 4), five = make_tokens({0, 1}, 5);
  CHECK(error_of([&] { run_ngram(four, five, Json::object()); }).find("different vocabularies") != std::string::npos);
  CHECK(error_of([&] { run_ngram(four, make_tokens({1}, 4), Json::object()); }).find("fewer than two tokens") !=
        std::string::npos);
  CHECK_FALSE(error_of([&] { run_ngram(four, four, {{"order", 6}}); }).empty());
  CHECK_FALSE(error_of([&] { run_ngram(four, four, {{"order", 0}}); }).empty());
  CHECK_FALSE(scalar_from(run_ngram(four, four, Json::object()).at("nats")).standard_error.has_value());
  Tokens wide;
  wide.ids = Blob::of(DType::i32, std::vector<std::int32_t>{0, 40000, 2});
  wide.vocabulary = "pieces";
  wide.vocabulary_size = 50000;
  CHECK(error_of([&] {
          run_ngram(wide, wide, {{"order", 5}});
        }).find("order = 5 is too long for a vocabulary of 50000 tokens; allowed: up to 4") != std::string::npos);
  CHECK(error_of([&] { run_ngram(wide, wide, {{"order", 4}}); }).empty());
}

TEST_CASE("on King James's text the op finds what plain counting in another language finds", "[needs]") {
  const std::filesystem::path source = COLONNADE_TEST_SOURCE_DIR;
  std::ifstream file(source / "tests/oracles/ngram_kjv.json");
  const Json oracle = Json::parse(file);
  std::map<std::string, Testament> testaments;
  for (const auto& [name, bytes] : oracle.at("bytes").items()) {
    const auto text = source / ".deps/text/kjv" / name;
    if (!std::filesystem::exists(text) || std::filesystem::file_size(text) != bytes.get<std::uintmax_t>()) {
      WARN("skipped: the default text is not prepared, or not the one that the oracle read");
      return;
    }
    testaments[name] = read_testament(text);
  }
  for (const Json& row : oracle.at("rows")) {
    INFO(row.dump());
    const Tokens& data = testaments.at(row.at("data").get<std::string>()).at("train");
    const Tokens& on = testaments.at(row.at("on").get<std::string>()).at(row.at("split").get<std::string>());
    const Scalar perplexity =
        scalar_from(run_ngram(data, on, {{"order", row.at("order").get<int>()}}).at("perplexity"));
    CHECK(perplexity.value == Approx(row.at("perplexity").get<double>()).epsilon(1e-9));
    CHECK(perplexity.n == on.count() - 1);
    CHECK(*perplexity.standard_error < 0.02 * perplexity.value);
  }
}

}  // namespace colonnade
