#include <algorithm>

#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/tokenizer.h"
#include "colonnade/unicode.h"
#include "generate.h"
#include "transcript.h"

namespace colonnade {

namespace {

TokenIds encoded(const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<std::int32_t> ids = tokenizer.encode(text);
  return {ids.begin(), ids.end()};
}

// Tells of the texts line by line while they grow.
std::vector<Continuation> generate_aloud(OpContext& context, const Model& model, const std::vector<TokenIds>& prompts,
                                         const Generation& generation) {
  std::size_t held = 0;
  for (const std::string& stop : generation.stops) held = std::max(held, stop.size() - 1);
  Transcript transcript(prompts.size(), held, [&](std::size_t text, const std::string& line) {
    context.log(std::to_string(text + 1) + "| " + line);
  });
  return generate(model, prompts, generation, context.random(),
                  [&](std::int64_t step, const std::vector<Continuation>& texts) {
                    for (std::size_t i = 0; i < texts.size(); ++i) {
                      transcript.tell(i, texts[i].text, texts[i].stopped || step == generation.max_tokens);
                    }
                    context.progress(step, generation.max_tokens, "tokens");
                  });
}

Value generate_texts(OpContext& context) {
  const Model model = Model::from_field(context.input("model"));
  const Tokenizer tokenizer = context.has_input("tokenizer") ? tokenizer_from(context.input("tokenizer")) : Tokenizer();
  const auto prompts = context.param<std::vector<std::string>>("prompts");
  std::vector<TokenIds> ids;
  for (const std::string& prompt : prompts) {
    if (prompt.empty()) throw Error(ErrorKind::usage, "a prompt is empty; allowed: at least one byte to go on from");
    ids.push_back(encoded(tokenizer, prompt));
  }
  if (ids.empty()) throw Error(ErrorKind::usage, "'prompts' is empty; allowed: one text or more");
  Generation generation;
  generation.tokenizer = tokenizer;
  generation.sampling = {context.param<double>("temperature"), context.param<std::int64_t>("top_k"),
                         context.param<double>("top_p")};
  generation.max_tokens = context.param<std::int64_t>("max_tokens");
  for (const std::string& stop : context.param<std::vector<std::string>>("stop")) {
    if (stop.empty()) throw Error(ErrorKind::usage, "a stop is empty; allowed: at least one byte");
    generation.stops.push_back(stop);
  }
  for (std::size_t i = 0; i < prompts.size(); ++i) context.log(std::to_string(i + 1) + "> " + prompts[i]);
  const std::vector<Continuation> texts = generate_aloud(context, model, ids, generation);
  Table table;
  table.add_column("prompt", "text");
  table.add_column("continuation", "text");
  table.add_column("tokens", "integer");
  table.add_column("ended_by", "text");
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::string continuation = well_formed(texts[i].text);
    table.add_row(
        {well_formed(prompts[i]), continuation, texts[i].tokens.size(), texts[i].stopped ? "stop" : "length"});
  }
  Value value;
  value.fields["texts"] = to_field(table);
  return value;
}

void register_plugin(Registrar& registrar) {
  registrar.op("generate")
      .doc(
          "Continues texts with a language model, over bytes or the tokens of `tokenizer`.\n"
          "The next token is drawn from softmax(logits / temperature), restricted to the top_k likeliest, then to the "
          "fewest of these that hold top_p of the probability, and renormalised; temperature 0 takes the likeliest. A "
          "text ends with a stop, which is cut off, or after max_tokens. Prompts are read at once, padded on the left; "
          "each has random numbers of its own, so that a text does not depend on its neighbours but for rounding. `run "
          "--log` shows texts while they grow.\n"
          "Source of top_p: Holtzman et al., The Curious Case of Neural Text Degeneration, 2020.")
      .example("local texts = base:generate { prompts = { \"In the beginning \" }, temperature = 0.7 }.texts")
      .random()
      .input("model", "model", "a language model that keeps a state")
      .optional_input("tokenizer", "tokenizer", "of the text that the model learnt; absent: bytes")
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
      .any_device()
      .run(generate_texts);
}

}  // namespace

}  // namespace colonnade

COLONNADE_PLUGIN(colonnade::register_plugin);
