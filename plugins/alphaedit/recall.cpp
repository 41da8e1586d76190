#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <limits>

#include "colonnade/colonnade.h"
#include "facts.h"
#include "ops.h"

namespace colonnade::alphaedit {

namespace {

// Nats of `answers` after `prompts`; NaN where either is missing.
std::vector<double> nats_of(const Model& model, const std::vector<Fact>& facts, std::string Fact::*prompt,
                            std::string Fact::*answer) {
  std::vector<double> result(facts.size(), std::numeric_limits<double>::quiet_NaN());
  for (std::size_t i = 0; i < facts.size(); ++i) {
    const Fact& fact = facts[i];
    if ((fact.*prompt).empty() || (fact.*answer).empty()) continue;
    result[i] = nats(model, encode({fact.*prompt}, {fact.*answer}, {""})).item<double>();
  }
  return result;
}

// The share of facts for which `likelier` is likelier than `other`, among those that have both.
Scalar share(const std::vector<double>& likelier, const std::vector<double>& other) {
  Scalar result{0, 0, {}, "", Better::higher, {}};
  for (std::size_t i = 0; i < likelier.size(); ++i) {
    if (std::isnan(likelier[i]) || std::isnan(other[i])) continue;
    ++result.n;
    result.per_example.push_back(likelier[i] < other[i] ? 1 : 0);
    result.value += result.per_example.back();
  }
  if (result.n == 0) {
    result.value = std::numeric_limits<double>::quiet_NaN();
    return result;
  }
  const auto n = static_cast<double>(result.n);
  result.value /= n;
  result.standard_error = std::sqrt(result.value * (1 - result.value) / n);
  return result;
}

Scalar fluency(const Model& model, const std::vector<Fact>& facts, std::int64_t count) {
  Scalar result{std::numeric_limits<double>::quiet_NaN(), 0, {}, "bits", Better::higher, {}};
  if (count == 0) return result;
  std::vector<std::string> prompts;
  for (const Fact& fact : facts) prompts.push_back(fact.prompt);
  double sum = 0;
  for (const std::string& text : continue_greedily(model, prompts, count)) {
    result.per_example.push_back(fluency_of(text));
    sum += result.per_example.back();
  }
  result.n = static_cast<std::int64_t>(prompts.size());
  result.value = sum / static_cast<double>(result.n);
  return result;
}

Value recall(OpContext& context) {
  at::NoGradGuard guard;
  const Model model = Model::from_field(context.input("model"));
  require_bytes(model);
  const auto facts = facts_from(context.input("facts"));
  Value value;
  Table table;
  table.add_column("fact", "integer");
  std::vector<std::vector<double>> columns;
  const auto measure = [&](const char* what, std::string Fact::*prompt) {
    const auto target = nats_of(model, facts, prompt, &Fact::target), old = nats_of(model, facts, prompt, &Fact::old);
    table.add_column(std::string(what) + "_target", "real", "nats");
    table.add_column(std::string(what) + "_old", "real", "nats");
    columns.push_back(target);
    columns.push_back(old);
    return std::pair(target, old);
  };
  const auto [target, old] = measure("prompt", &Fact::prompt);
  const auto [target_again, old_again] = measure("paraphrase", &Fact::paraphrase);
  const auto [target_near, old_near] = measure("neighbour", &Fact::neighbour);
  const auto [target_not, old_not] = measure("negation", &Fact::negation);
  for (std::size_t i = 0; i < facts.size(); ++i) {
    std::vector<Json> cells = {static_cast<std::int64_t>(i + 1)};
    for (const auto& column : columns) cells.push_back(std::isnan(column[i]) ? Json() : Json(column[i]));
    table.add_row(cells);
  }
  double sum = 0;
  for (const double each : target) sum += each;
  const auto count = static_cast<std::int64_t>(facts.size());
  value.fields["efficacy"] = to_field(share(target, old));
  value.fields["generalisation"] = to_field(share(target_again, old_again));
  value.fields["specificity"] = to_field(share(old_near, target_near));
  value.fields["negation"] = to_field(share(old_not, target_not));
  value.fields["nats"] = to_field(Scalar{sum / static_cast<double>(count), count, {}, "nats", Better::lower, target});
  value.fields["fluency"] = to_field(fluency(model, facts, context.param<std::int64_t>("generate")));
  value.fields["by_fact"] = to_field(table);
  return value;
}

}  // namespace

void declare_recall(Registrar& registrar) {
  registrar.op("recall")
      .doc(
          "Measures what a language model knows of facts.\n"
          "An answer's nats are the mean of -log p over its bytes. efficacy: share of prompts after which the target "
          "is "
          "likelier than the old answer; generalisation: the same after paraphrases; specificity: share of neighbours "
          "after which the old answer is likelier; negation: share of negated prompts after which the old answer is "
          "likelier than the target, a control, since edited models tend to give the target there too. fluency: 2/3 "
          "H_2 "
          "+ 4/3 H_3, entropies of pairs and triples of words in what the model writes after the prompts. A measure is "
          "NaN over 0 facts where the columns it needs are missing. Source: Meng et al., Locating and Editing Factual "
          "Associations in GPT, 2022.")
      .example("local known = edited:recall { facts = facts }")
      .input("model", "model", "a language model of bytes")
      .input("facts", "table", "of `facts`")
      .output("efficacy", "scalar", "share of prompts that give the target")
      .output("generalisation", "scalar", "share of paraphrases that give the target")
      .output("specificity", "scalar", "share of neighbours that give the old answer")
      .output("negation", "scalar", "share of negations that do not give the target")
      .output("nats", "scalar", "of the targets")
      .output("fluency", "scalar", "of what follows the prompts")
      .output("by_fact", "table", "nats of target and old answer after each kind of prompt")
      .param(integer("generate", "bytes written after each prompt for fluency; 0: none")
                 .range(0, std::nullopt)
                 .fall_back(0))
      .run(recall);
}

}  // namespace colonnade::alphaedit
