#include <algorithm>
#include <cmath>

#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "ngram.h"

namespace colonnade {

namespace {

// c + T · P and c + T, then the quotient: for each order once, to know one token's probability.
constexpr double operations_of_an_order = 4;

struct WindowScore {
  double nats = 0, hits = 0;
  std::int64_t tokens = 0;
};

std::vector<WindowScore> score(OpContext& context, const NgramModel& model, const Tokens& text, std::int64_t length) {
  std::vector<WindowScore> windows;
  const std::int64_t count = text.count();
  std::vector<double> distribution;
  for (std::int64_t first = 1; first < count; first += length) {
    WindowScore window;
    for (std::int64_t i = first; i < std::min(first + length, count); ++i) {
      model.predict(text, i, distribution);
      window.nats -= std::log(distribution[static_cast<std::size_t>(text.id(i))]);
      // The smallest id among equals.
      window.hits += std::max_element(distribution.begin(), distribution.end()) - distribution.begin() == text.id(i);
      ++window.tokens;
    }
    windows.push_back(window);
    context.progress(std::min(first + length, count), count, "tokens");
  }
  return windows;
}

Scalar mean_over_tokens(const std::vector<WindowScore>& windows, double WindowScore::*sum, const std::string& unit,
                        Better better) {
  Scalar scalar;
  scalar.unit = unit;
  scalar.better = better;
  double total = 0;
  scalar.n = 0;
  for (const WindowScore& window : windows) {
    total += window.*sum;
    scalar.n += window.tokens;
    scalar.per_example.push_back(window.*sum / static_cast<double>(window.tokens));
  }
  scalar.value = total / static_cast<double>(scalar.n);
  if (windows.size() < 2) return scalar;
  double squares = 0;
  for (const WindowScore& window : windows) {
    const double residual = window.*sum - scalar.value * static_cast<double>(window.tokens);
    squares += residual * residual;
  }
  const auto n = static_cast<double>(windows.size());
  scalar.standard_error = std::sqrt(squares * n / (n - 1)) / static_cast<double>(scalar.n);
  return scalar;
}

Value ngram(OpContext& context) {
  const Tokens training = tokens_from(context.input("data"));
  const Tokens text = tokens_from(context.input("on"));
  if (text.count() < 2) throw Error(ErrorKind::input, "ngram: the text to score has fewer than two tokens");
  if (text.vocabulary != training.vocabulary || text.vocabulary_size != training.vocabulary_size) {
    throw Error(ErrorKind::input, "ngram: the texts have different vocabularies, '" + training.vocabulary + "' and '" +
                                      text.vocabulary + "'");
  }
  const NgramModel model(training, static_cast<int>(context.param<std::int64_t>("order")));
  const auto windows = score(context, model, text, context.param<std::int64_t>("length"));
  const Scalar nats = mean_over_tokens(windows, &WindowScore::nats, "nats", Better::lower);
  Scalar perplexity{std::exp(nats.value), nats.n, {}, "", Better::lower, {}};
  if (nats.standard_error) perplexity.standard_error = perplexity.value * *nats.standard_error;
  Value value;
  value.fields["perplexity"] = to_field(perplexity);
  value.fields["nats"] = to_field(nats);
  value.fields["accuracy"] = to_field(mean_over_tokens(windows, &WindowScore::hits, "", Better::higher));
  value.fields["parameters"] =
      to_field(Scalar{static_cast<double>(model.parameters()), training.count(), {}, "", Better::lower, {}});
  const double operations = operations_of_an_order * static_cast<double>(context.param<std::int64_t>("order"));
  value.fields["flops"] = to_field(Scalar{operations, 1, {}, "FLOP/token", Better::lower, {}});
  return value;
}

void register_plugin(Registrar& registrar) {
  registrar.op("ngram")
      .doc(
          "Fits an n-gram model to one text and scores another: the yardstick for language models.\n"
          "Interpolated Witten-Bell: P_k(w | h) = (c(h w) + T(h) P_{k-1}(w | h')) / (c(h) + T(h)), P_0 uniform, with c "
          "the counts "
          "in `data`, T(h) the number of different tokens after h, h' the context without its oldest token. order = 1 "
          "is a "
          "unigram model, 3 a trigram's. Every token of `on` but the first is scored. nats is the mean of -log P, "
          "perplexity its "
          "exponential; the standard error comes from windows of `length` tokens.")
      .example("local yardstick = col.ngram { data = text.train, on = text.test, order = 3 }")
      .input("data", "tokens", "the text it is fitted to")
      .input("on", "tokens", "the text it is scored on")
      .output("perplexity", "scalar", "exp of the mean nats a token")
      .output("nats", "scalar", "mean of -log P a token")
      .output("accuracy", "scalar", "share of tokens that were the likeliest")
      .output("parameters", "scalar", "different grams counted, of all lengths up to the order")
      .output("flops", "scalar", "operations for one token's probability: 4 an order")
      .param(integer("order", "tokens in a gram").range(1, 5).fall_back(3))
      .param(integer("length", "tokens in a window of the standard error").range(1, std::nullopt).fall_back(256))
      .run(ngram);
}

}  // namespace

}  // namespace colonnade

COLONNADE_PLUGIN(colonnade::register_plugin);
