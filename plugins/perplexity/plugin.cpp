#include <algorithm>
#include <cmath>
#include <numbers>

#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "perplexity.h"

namespace colonnade {

namespace {

Tokens first_tokens(Tokens tokens, std::int64_t count) {
  if (tokens.count() <= count) return tokens;
  tokens.ids = Blob::share(tokens.ids.dtype(), {count}, tokens.ids.data(), tokens.ids.owner());
  std::erase_if(tokens.documents, [&](std::int64_t start) { return start >= count; });
  return tokens;
}

Windows windows_of(const OpContext& context) {
  Windows windows;
  windows.length = context.param<std::int64_t>("length");
  windows.batch = context.param<std::int64_t>("batch");
  windows.stride = context.has_param("stride") ? context.param<std::int64_t>("stride") : windows.length;
  if (windows.stride > windows.length) {
    throw Error(ErrorKind::usage,
                "stride = " + std::to_string(windows.stride) +
                    " would leave tokens out; allowed: 1 to length = " + std::to_string(windows.length));
  }
  return windows;
}

// exp of the nats that fall to one of `units` (words, or tokens themselves), with its error to first order.
Scalar perplexity_of(const WindowSums& nats, double units) {
  const double mean = nats.total() / units;
  Scalar value{std::exp(mean), nats.scored(), {}, "", Better::lower, {}};
  const double tokens_a_unit = static_cast<double>(nats.scored()) / units;
  if (const auto error = nats.error()) value.standard_error = value.value * *error * tokens_a_unit;
  return value;
}

Value perplexity(OpContext& context) {
  const Model model = Model::from_field(context.input("model"));
  Tokens tokens = tokens_from(context.input("data"));
  // What the text has of bytes and words for one of its tokens, also where only its beginning is scored.
  const double all = static_cast<double>(tokens.count());
  const std::int64_t words = tokens.words + (context.param<bool>("line_ends") ? tokens.lines : 0);
  const double bytes_a_token = static_cast<double>(tokens.bytes) / all,
               words_a_token = static_cast<double>(words) / all;
  const Json counts = {{"bytes", tokens.bytes}, {"words", words}, {"tokens", tokens.count()}};
  if (context.has_param("max_tokens"))
    tokens = first_tokens(std::move(tokens), context.param<std::int64_t>("max_tokens") + 1);
  if (tokens.count() < 2)
    throw Error(ErrorKind::input, "the input 'data' has fewer than two tokens, so that nothing can be scored");
  const TextScore score = score_text(model, tokens, windows_of(context), [&](std::int64_t done, std::int64_t total) {
    context.progress(done, total, "tokens");
  });
  const std::int64_t scored = score.nats.scored();
  if (scored == 0) throw Error(ErrorKind::input, "no document of the input 'data' has two tokens to score one of");
  const auto count = static_cast<double>(scored);
  Scalar nats{score.nats.mean(), scored, score.nats.error(), "nats", Better::lower, score.nats.per_window()};
  Scalar accuracy{score.hits.mean(), scored, score.hits.error(), "", Better::higher, score.hits.per_window()};
  Scalar bits{score.nats.mean() / bytes_a_token / std::numbers::ln2, scored, {}, "bits", Better::lower, {}};
  if (nats.standard_error) bits.standard_error = *nats.standard_error / bytes_a_token / std::numbers::ln2;
  Value result;
  result.fields["perplexity"] = to_field(perplexity_of(score.nats, count));
  result.fields["nats"] = to_field(nats);
  result.fields["accuracy"] = to_field(accuracy);
  result.fields["bits_per_byte"] = to_field(bits);
  result.fields["word_perplexity"] = to_field(perplexity_of(score.nats, count * words_a_token));
  Json record = counts;
  record["documents"] = std::max<std::int64_t>(1, std::ssize(tokens.documents));
  record["windows"] = score.nats.sums.size();
  record["scored"] = scored;
  result.fields["counts"] = record_field(std::move(record));
  return result;
}

void register_plugin(Registrar& registrar) {
  registrar.op("perplexity")
      .doc(
          "How well a language model predicts a text, token by token.\n"
          "The model reads windows of `length` tokens, one every `stride` tokens. Every token but the text's first is "
          "scored once, in the first window that reaches it: without `stride` windows follow one another, with one "
          "each "
          "later window scores its last `stride` tokens, given at least length - stride tokens before. nats is the "
          "mean of "
          "-log p a token (natural logarithm, float64), perplexity = exp(nats), accuracy the share of tokens that were "
          "the "
          "likeliest. Measures that do not depend on the vocabulary: bits_per_byte, and word_perplexity = exp of the "
          "nats "
          "that fall to a word, words being what white space separates in the text itself, and line ends too with "
          "`line_ends`. Windows stay within a document where the text is made of several, and each document's first "
          "token is not scored. Where `max_tokens` cuts the "
          "text, bytes and words a token are the whole text's. Standard errors come from the spread of the windows; "
          "per_example holds the windows' sums over their mean size, so that comparisons can pair them.")
      .example("local quality = model:perplexity { data = text.test }")
      .input("model", "model", "the language model")
      .input("data", "tokens", "the text")
      .output("perplexity", "scalar", "exp of the mean nats a token")
      .output("nats", "scalar", "mean of -log p a token")
      .output("accuracy", "scalar", "share of tokens that were the likeliest")
      .output("bits_per_byte", "scalar", "bits that fall to a byte of the text")
      .output("word_perplexity", "scalar", "exp of the nats that fall to a word of the text")
      .output("counts", "record",
              "bytes, words and tokens of the whole text; documents, windows and tokens that were scored")
      .param(boolean("line_ends",
                     "count line ends as words, as published word-level figures of WikiText do; PG-19's do not")
                 .fall_back(false))
      .param(integer("length", "tokens in a window").range(1, std::nullopt).fall_back(256))
      .param(integer("stride", "tokens from a window's start to the next; absent: `length`")
                 .range(1, std::nullopt)
                 .optional())
      .param(integer("batch",
                     "windows computed at once, fewer where their logits would take more than 1 GiB; does not change "
                     "the result beyond "
                     "rounding")
                 .range(1, std::nullopt)
                 .fall_back(16))
      .param(integer("max_tokens", "score only the first so many tokens").range(1, std::nullopt).optional())
      .work("max_tokens or 1000000")
      .any_device()
      .run(perplexity);
}

}  // namespace

}  // namespace colonnade

COLONNADE_PLUGIN(colonnade::register_plugin);
