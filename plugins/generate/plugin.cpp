#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "generate.h"

namespace colonnade {

namespace {

TokenIds bytes_of(const std::string& text) {
  TokenIds ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

// How many bytes the well-formed UTF-8 character at `at` has; 0 if there is none.
std::size_t character_length(const std::string& bytes, std::size_t at) {
  const auto byte = [&](std::size_t i) { return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0u; };
  const auto follows = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xBF) {
    return byte(i) >= low && byte(i) <= high;
  };
  const unsigned first = byte(at);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(at + 1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool second = follows(at + 1, first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF);
    return second && follows(at + 2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool second = follows(at + 1, first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF);
    return second && follows(at + 2) && follows(at + 3) ? 4 : 0;
  }
  return 0;
}

// The bytes as text; what is not UTF-8 becomes the replacement character.
std::string readable(const TokenIds& ids) {
  constexpr std::int64_t kBytes = 256;
  std::string bytes;
  for (const std::int64_t id : ids) {
    if (id >= kBytes) {
      throw Error(ErrorKind::input, "the model gave token " + std::to_string(id) +
                                        ", which is no byte; only models over bytes can be read as text");
    }
    bytes.push_back(static_cast<char>(id));
  }
  std::string text;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t length = character_length(bytes, at);
    text += length > 0 ? bytes.substr(at, length) : "\xEF\xBF\xBD";
    at += std::max<std::size_t>(length, 1);
  }
  return text;
}

Value generate_texts(OpContext& context) {
  const Model model = Model::from_field(context.input("model"));
  const auto prompts = context.param<std::vector<std::string>>("prompts");
  std::vector<TokenIds> ids;
  for (const std::string& prompt : prompts) {
    if (prompt.empty()) throw Error(ErrorKind::usage, "a prompt is empty; allowed: at least one byte to go on from");
    ids.push_back(bytes_of(prompt));
  }
  if (ids.empty()) throw Error(ErrorKind::usage, "'prompts' is empty; allowed: one text or more");
  Generation generation;
  generation.sampling = {context.param<double>("temperature"), context.param<std::int64_t>("top_k"),
                         context.param<double>("top_p")};
  generation.max_tokens = context.param<std::int64_t>("max_tokens");
  for (const std::string& stop : context.param<std::vector<std::string>>("stop")) {
    if (stop.empty()) throw Error(ErrorKind::usage, "a stop is empty; allowed: at least one byte");
    generation.stops.push_back(bytes_of(stop));
  }
  const auto texts = generate(model, ids, generation, context.random(),
                              [&](std::int64_t step) { context.progress(step, generation.max_tokens, "tokens"); });
  Table table;
  table.add_column("prompt", "text");
  table.add_column("continuation", "text");
  table.add_column("tokens", "integer");
  table.add_column("ended_by", "text");
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::string continuation = readable(texts[i].tokens);
    context.log(prompts[i] + "|" + continuation);
    table.add_row({readable(ids[i]), continuation, texts[i].tokens.size(), texts[i].stopped ? "stop" : "length"});
  }
  Value value;
  value.fields["texts"] = to_field(table);
  return value;
}

void register_plugin(Registrar& registrar) {
  registrar.op("generate")
      .doc(
          "Continues texts with a language model over bytes.\n"
          "The next token is drawn from softmax(logits / temperature), restricted to the top_k likeliest, then to the "
          "fewest of these that hold top_p of the probability, and renormalised; temperature 0 takes the likeliest. A "
          "text ends with a stop, which is cut off, or after max_tokens. Prompts are read at once, padded on the left; "
          "each has random numbers of its own, so that a text does not depend on its neighbours but for rounding.\n"
          "Source of top_p: Holtzman et al., The Curious Case of Neural Text Degeneration, 2020.")
      .example("local texts = base:generate { prompts = { \"In the beginning \" }, temperature = 0.7 }.texts")
      .random()
      .input("model", "model", "a language model that keeps a state")
      .output("texts", "table", "a row a prompt: prompt, continuation, tokens, ended_by (stop or length)")
      .param(list("prompts", ParamType::string, "what to go on from, a continuation each"))
      .param(integer("max_tokens", "tokens at most in a continuation").range(1, std::nullopt).fall_back(64))
      .param(real("temperature", "divides the logits; 0: always the likeliest").range(0, std::nullopt).fall_back(1.0))
      .param(integer("top_k", "draw from the so many likeliest only; 0: from all").range(0, std::nullopt).fall_back(0))
      .param(real("top_p", "draw from the likeliest that hold this share of the probability")
                 .range(std::nullopt, 1)
                 .above(0)
                 .fall_back(1.0))
      .param(list("stop", ParamType::string, "texts that end a continuation").fall_back(Json::array()))
      .work("max_tokens")
      .run(generate_texts);
}

}  // namespace

}  // namespace colonnade

COLONNADE_PLUGIN(colonnade::register_plugin);
