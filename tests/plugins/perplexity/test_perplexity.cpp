#include <catch2/catch.hpp>
#include <cmath>

#include "tests/support/plugins.h"
#include "tests/support/small_model.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade {

namespace {

using Catch::Matchers::Contains;

Value score(const Model& model, const Tokens& text, Json params) {
  register_linked_plugin(colonnade_plugin);
  return small::run("perplexity/perplexity", std::move(params),
                    {{"model", model.to_field()}, {"data", to_field(text)}});
}

Scalar scalar(const Value& value, const char* name) {
  return scalar_from(value.at(name));
}

struct Reference {
  std::vector<double> nats, hits, tokens;  // by window
  double mean(const std::vector<double>& of) const {
    double sum = 0, count = 0;
    for (std::size_t i = 0; i < of.size(); ++i) {
      sum += of[i] * tokens[i];
      count += tokens[i];
    }
    return sum / count;
  }
};

// One window at a time, by LibTorch's own cross entropy.
Reference reference(const Model& model, const Tokens& text, std::int64_t length) {
  Reference result;
  for (std::int64_t start = 0; start + 1 < text.count(); start += length) {
    const std::int64_t count = std::min(length, text.count() - 1 - start);
    std::vector<std::int64_t> ids;
    for (std::int64_t i = 0; i <= count; ++i) ids.push_back(text.id(start + i));
    const Tensor all = at::from_blob(ids.data(), {count + 1}, at::TensorOptions().dtype(at::kLong)).clone();
    Batch batch;
    batch.tensors["ids"] = all.narrow(0, 0, count).unsqueeze(0);
    const Tensor logits = model.forward(batch).to(at::kDouble)[0], targets = all.narrow(0, 1, count);
    result.nats.push_back(at::cross_entropy_loss(logits, targets).item<double>());
    result.hits.push_back((logits.argmax(-1) == targets).to(at::kDouble).mean().item<double>());
    result.tokens.push_back(static_cast<double>(count));
  }
  return result;
}

}  // namespace

TEST_CASE("every token but the first is scored once, in windows one after another") {
  for (const char* dtype : {"f64", "f32"}) {
    const double tolerance = std::string(dtype) == "f64" ? 1e-12 : 1e-6;
    const Model model = small::make(dtype);
    // 12 windows of 8 and one of 3; 12 whole ones; one window that is not full.
    for (const std::int64_t count : {100, 97, 6}) {
      const Tokens text = small::text(count);
      const Reference expected = reference(model, text, 8);
      const Value value = score(model, text, {{"length", 8}, {"batch", 5}});
      const Scalar nats = scalar(value, "nats"), accuracy = scalar(value, "accuracy");
      CHECK(nats.value == Approx(expected.mean(expected.nats)).epsilon(tolerance));
      CHECK(accuracy.value == Approx(expected.mean(expected.hits)).epsilon(1e-12));
      CHECK(scalar(value, "perplexity").value == Approx(std::exp(nats.value)).epsilon(1e-14));
      CHECK(nats.n == count - 1);
      REQUIRE(nats.per_example.size() == expected.nats.size());
      for (std::size_t i = 0; i < expected.nats.size(); ++i) {
        const double weight =
            expected.tokens[i] * static_cast<double>(expected.tokens.size()) / static_cast<double>(count - 1);
        CHECK(nats.per_example[i] == Approx(expected.nats[i] * weight).epsilon(tolerance));
        CHECK(accuracy.per_example[i] == Approx(expected.hits[i] * weight).epsilon(1e-12));
      }
    }
  }
}

TEST_CASE("logits that are widened part by part give the same scores") {
  const Model model = small::make("f64");
  const std::int64_t length = 1000, windows = 200;
  const Tokens text = small::text(length * windows + 1);
  const Value value = score(model, text, {{"length", length}, {"batch", windows}});
  const Reference expected = reference(model, text, length);
  CHECK(scalar(value, "nats").value == Approx(expected.mean(expected.nats)).epsilon(1e-12));
  const Scalar accuracy = scalar(value, "accuracy");
  REQUIRE(accuracy.per_example.size() == expected.hits.size());
  for (std::size_t i = 0; i < expected.hits.size(); ++i) {
    CHECK(accuracy.per_example[i] == Approx(expected.hits[i]).epsilon(1e-12));
  }
}

TEST_CASE("a stride scores every token once, with the context of the windows before") {
  const Model model = small::make();
  for (const std::int64_t count : {60, 61, 7}) {
    const Tokens text = small::text(count);
    for (const std::int64_t stride : {1, 3, 8}) {
      // The loop that defines it: each token in the first window that reaches it.
      double total = 0;
      for (std::int64_t token = 1; token < count; ++token) {
        const std::int64_t start = token <= 8 ? 0 : (token - 8 + stride - 1) / stride * stride;
        const std::int64_t end = std::min(start + 8, count - 1);
        std::vector<std::int64_t> ids;
        for (std::int64_t i = start; i < end; ++i) ids.push_back(text.id(i));
        Batch batch;
        batch.tensors["ids"] =
            at::from_blob(ids.data(), {1, end - start}, at::TensorOptions().dtype(at::kLong)).clone();
        const Tensor logits = model.forward(batch)[0][token - 1 - start].to(at::kDouble);
        total += (at::logsumexp(logits, 0) - logits[text.id(token)]).item<double>();
      }
      const Value value = score(model, text, {{"length", 8}, {"stride", stride}, {"batch", 4}});
      const Scalar nats = scalar(value, "nats");
      CHECK(nats.value == Approx(total / static_cast<double>(count - 1)).epsilon(1e-12));
      CHECK(nats.n == count - 1);
      double sum = 0;
      for (const double each : nats.per_example) sum += each;
      CHECK(sum / static_cast<double>(nats.per_example.size()) == Approx(nats.value).epsilon(1e-13));
    }
  }
  CHECK_THAT(small::error_of([&] {
               score(model, small::text(60), {{"length", 8}, {"stride", 9}});
             }),
             Contains("stride = 9 would leave tokens out; allowed: 1 to length = 8"));
}

TEST_CASE("bytes and words are the text's, whatever a token is") {
  const Model model = small::make();
  Tokens text = small::text(101);
  text.bytes = 404;
  text.words = 50;
  const Value value = score(model, text, {{"length", 8}});
  const Scalar nats = scalar(value, "nats");
  CHECK(scalar(value, "bits_per_byte").value == Approx(nats.value / 4 / std::log(2.0)).epsilon(1e-13));
  CHECK(scalar(value, "word_perplexity").value == Approx(std::exp(nats.value * 101 / 50)).epsilon(1e-12));
  CHECK(*scalar(value, "word_perplexity").standard_error ==
        Approx(scalar(value, "word_perplexity").value * *nats.standard_error * 101 / 50).epsilon(1e-12));
}

TEST_CASE("documents are scored each by itself, whatever stands before them") {
  const Model model = small::make();
  Tokens all = small::text(200);
  all.documents = {0, 1, 90, 131};
  all.bytes = all.words = 200;
  all.lines = 40;
  double nats = 0;
  std::int64_t tokens = 0;
  for (const auto& [first, count] : {std::pair{1, 89}, {90, 41}, {131, 69}}) {
    Tokens one = small::text(200);
    one.ids = Blob::copy(one.ids.dtype(), {count}, one.ids.data() + first * dtype_size(one.ids.dtype()));
    const Scalar own = scalar(score(model, one, {{"length", 16}, {"stride", 5}}), "nats");
    nats += own.value * static_cast<double>(own.n);
    tokens += own.n;
  }
  const Value value = score(model, all, {{"length", 16}, {"stride", 5}, {"batch", 3}});
  CHECK(scalar(value, "nats").n == tokens);
  CHECK(scalar(value, "nats").value == Approx(nats / static_cast<double>(tokens)).epsilon(1e-12));
  const Json& counts = value.at("counts").document;
  CHECK(counts.at("documents") == 4);
  CHECK(counts.at("scored") == tokens);
  CHECK(counts.at("windows") == 3 + (89 - 17 + 4) / 5 + (41 - 17 + 4) / 5 + (69 - 17 + 4) / 5);
  const Value lines = score(model, all, {{"length", 16}, {"stride", 5}, {"line_ends", true}});
  CHECK(lines.at("counts").document.at("words") == 240);
  const double mean = scalar(lines, "nats").value;
  CHECK(scalar(lines, "word_perplexity").value == Approx(std::exp(mean * 200 / 240)).epsilon(1e-12));
  // Cut within the third document.
  CHECK(score(model, all, {{"length", 16}, {"max_tokens", 100}}).at("counts").document.at("documents") == 3);
}

TEST_CASE("the result does not depend on the batch") {
  const Model model = small::make("f32");
  const Tokens text = small::text(500);
  const double one = scalar(score(model, text, {{"length", 9}, {"batch", 1}}), "nats").value;
  for (const int batch : {2, 7, 64}) {
    CHECK(scalar(score(model, text, {{"length", 9}, {"batch", batch}}), "nats").value == Approx(one).epsilon(1e-6));
  }
}

TEST_CASE("a model that knows nothing has the vocabulary's size as its perplexity") {
  Model model = small::make();
  SiteWeight& embedding = model.writable("embedding");
  embedding.sparse = at::zeros_like(embedding.sparse);
  const Value value = score(model, small::text(200), {{"length", 16}});
  CHECK(scalar(value, "perplexity").value == Approx(small::vocabulary).epsilon(1e-12));
  CHECK(*scalar(value, "nats").standard_error == Approx(0).margin(1e-12));
}

TEST_CASE("standard errors come from the spread of windows; a single window has none") {
  const Model model = small::make();
  const Tokens text = small::text(97);
  const Value value = score(model, text, {{"length", 8}});
  const Scalar nats = scalar(value, "nats");
  double squares = 0;
  for (const double each : nats.per_example) squares += (each - nats.value) * (each - nats.value);
  // Windows of equal size: the standard error of their mean.
  CHECK(*nats.standard_error == Approx(std::sqrt(squares / 11 / 12)).epsilon(1e-12));
  CHECK(*scalar(value, "perplexity").standard_error == Approx(std::exp(nats.value) * *nats.standard_error));
  CHECK(scalar(value, "accuracy").standard_error.has_value());
  const Value single = score(model, text, {{"length", 96}});
  for (const char* name : {"nats", "accuracy", "perplexity"})
    CHECK_FALSE(scalar(single, name).standard_error.has_value());
}

TEST_CASE("max_tokens scores the beginning of a text") {
  const Model model = small::make();
  const Value part = score(model, small::text(300), {{"length", 8}, {"max_tokens", 50}});
  CHECK(scalar(part, "nats").n == 50);
  CHECK(scalar(part, "nats").value == scalar(score(model, small::text(51), {{"length", 8}}), "nats").value);
  CHECK(scalar(score(model, small::text(30), {{"max_tokens", 50}}), "nats").n == 29);
}

TEST_CASE("texts without a token to score and models that are not finite are errors") {
  const Model model = small::make();
  CHECK_THAT(small::error_of([&] { score(model, small::text(1), Json::object()); }),
             Contains("op perplexity/perplexity: the input 'data' has fewer than two tokens"));
  // Finite weights whose products are not.
  Model large = small::make("f32");
  large.writable("norm_f").sparse.fill_(3e38);
  CHECK_THAT(small::error_of([&] { score(large, small::text(50), Json::object()); }),
             Contains("the model's logits are not finite"));
}

}  // namespace colonnade
