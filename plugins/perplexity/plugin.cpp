#include <cmath>

#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "perplexity.h"

namespace colonnade {

namespace {

Tokens first_tokens(Tokens tokens, std::int64_t count) {
  if (tokens.count() <= count) return tokens;
  tokens.ids = Blob::share(tokens.ids.dtype(), {count}, tokens.ids.data(), tokens.ids.owner());
  return tokens;
}

Value perplexity(OpContext& context) {
  const Model model = Model::from_field(context.input("model"));
  Tokens tokens = tokens_from(context.input("data"));
  if (context.has_param("max_tokens"))
    tokens = first_tokens(std::move(tokens), context.param<std::int64_t>("max_tokens") + 1);
  if (tokens.count() < 2)
    throw Error(ErrorKind::input, "the input 'data' has fewer than two tokens, so that nothing can be scored");
  const TextScore score =
      score_text(model, tokens, context.param<std::int64_t>("length"), context.param<std::int64_t>("batch"),
                 [&](std::int64_t done, std::int64_t total) { context.progress(done, total, "tokens"); });
  Scalar nats{score.nats, score.tokens, score.nats_error(), "nats", Better::lower, score.window_nats};
  Scalar accuracy{score.accuracy, score.tokens, score.accuracy_error(), "", Better::higher, score.window_accuracy};
  // The error of exp(x) to first order.
  Scalar value{std::exp(score.nats), score.tokens, {}, "", Better::lower, {}};
  if (nats.standard_error) value.standard_error = value.value * *nats.standard_error;
  Value result;
  result.fields["perplexity"] = to_field(value);
  result.fields["nats"] = to_field(nats);
  result.fields["accuracy"] = to_field(accuracy);
  return result;
}

void register_plugin(Registrar& registrar) {
  registrar.op("perplexity")
      .doc(
          "How well a language model predicts a text, token by token.\n"
          "The text is cut into windows of `length` tokens; every token but the text's first is scored once, given the "
          "tokens "
          "before it in its window. nats is the mean of -log p (natural logarithm, float64), perplexity = exp(nats), "
          "accuracy "
          "the share of tokens that were the likeliest. Standard errors come from the spread of the windows; "
          "per_example holds "
          "the windows' means, so that comparisons can pair them.")
      .example("local quality = model:perplexity { data = text.test }")
      .input("model", "model", "the language model")
      .input("data", "tokens", "the text")
      .output("perplexity", "scalar", "exp of the mean nats a token")
      .output("nats", "scalar", "mean of -log p a token")
      .output("accuracy", "scalar", "share of tokens that were the likeliest")
      .param(integer("length", "tokens in a window").range(1, std::nullopt).fall_back(256))
      .param(integer("batch", "windows computed at once; does not change the result beyond rounding")
                 .range(1, std::nullopt)
                 .fall_back(16))
      .param(integer("max_tokens", "score only the first so many tokens").range(1, std::nullopt).optional())
      .work("max_tokens or 1000000")
      .run(perplexity);
}

}  // namespace

}  // namespace colonnade

COLONNADE_PLUGIN(colonnade::register_plugin);
