#include <cmath>
#include <cstdio>
#include <map>
#include <set>

#include "allocation.h"
#include "colonnade/error.h"
#include "colonnade/tensor/model.h"
#include "colonnade/tensor/selector.h"
#include "ops.h"

namespace colonnade {

namespace {

Policy policy_of(const OpContext& context) {
  const auto name = context.param<std::string>("policy");
  if (name == "three-way") return Policy::three_way;
  if (name == "rest-light" || name == "rest-ia3") return Policy::rest_light;
  if (name == "uniform-strong") return Policy::uniform_strong;
  return name == "uniform-light" ? Policy::uniform_light : Policy::strong_only_on;
}

// "lora/lora" -> "lora"
std::string short_name(const Recipe& recipe) {
  return recipe.op.substr(recipe.op.find('/') + 1);
}

struct Scores {
  std::map<std::string, double> by_site;
  std::string measure;
};

Scores read_scores(const Table& table) {
  Scores scores;
  const auto& sites = table.column("site").cells;
  const auto& values = table.column("importance").cells;
  scores.measure = "importance";
  if (table.has_column("measure") && table.rows() > 0 && table.column("measure").cells[0].is_string()) {
    scores.measure = table.column("measure").cells[0].get<std::string>();
  }
  for (std::size_t row = 0; row < table.rows(); ++row) {
    const auto site = sites[row].get<std::string>();
    if (!values[row].is_number() || !std::isfinite(values[row].get<double>())) {
      throw Error(ErrorKind::input, "the importance of site '" + site + "' is no finite number");
    }
    if (!scores.by_site.emplace(site, values[row].get<double>()).second) {
      throw Error(ErrorKind::input, "the table of importances names site '" + site + "' twice");
    }
  }
  return scores;
}

Scores random_scores(const std::vector<std::string>& names, const RandomStream& random) {
  Scores scores;
  scores.measure = "random";
  for (const std::string& name : names) scores.by_site[name] = random.at(name).uniform(0);
  return scores;
}

Scores scores_for(OpContext& context, const std::vector<std::string>& names) {
  if (!ranks(policy_of(context))) return {{}, "importance"};
  if (context.param<std::string>("order") == "random") return random_scores(names, context.random().at("order"));
  if (context.has_input("importance")) return read_scores(table_from(context.input("importance")));
  const Value scored = context.call(context.recipe_param("score"), {{"model", context.input("model")}}, "score");
  for (const auto& [name, field] : scored.fields) {
    if (field.type == "table") return read_scores(table_from(field));
  }
  throw Error(ErrorKind::usage, "the recipe `score` gives no table");
}

std::set<std::string> strong_places(const OpContext& context, const Model& model) {
  std::set<std::string> places;
  if (context.has_param("strong_sites")) {
    for (const std::string& name : selected_names(select_sites(model, context.param<std::string>("strong_sites"))))
      places.insert(name);
    return places;
  }
  if (policy_of(context) == Policy::strong_only_on) {
    throw Error(ErrorKind::usage,
                "policy = \"strong-only-on\" needs `strong_sites`, the sites that get the strong recipe");
  }
  for (const SiteSpec& site : model.sites()) {
    if (site.kind != SiteKind::vector) places.insert(site.name);
  }
  return places;
}

std::vector<std::string> tunable_sites(const OpContext& context, const Model& model) {
  if (context.has_param("sites")) return selected_names(select_sites(model, context.param<std::string>("sites")));
  if (policy_of(context) != Policy::strong_only_on)
    return selected_names(select_present_sites(model, default_tuned_sites));
  const auto places = strong_places(context, model);
  return {places.begin(), places.end()};
}

std::vector<Candidate> candidates_for(OpContext& context, const Model& model, const std::vector<std::string>& names,
                                      const Scores& scores) {
  const auto places = strong_places(context, model);
  const bool ranked = ranks(policy_of(context));
  std::vector<std::string> unscored;
  std::vector<Candidate> candidates;
  for (const std::string& name : names) {
    const auto score = scores.by_site.find(name);
    const bool scored = score != scores.by_site.end();
    if (ranked && !scored) unscored.push_back(name);
    candidates.push_back({name, model.site(name).layer, scored ? score->second : 0, scored, places.contains(name)});
  }
  if (unscored.empty() || context.param<std::string>("unscored") == "frozen") return candidates;
  throw Error(ErrorKind::input,
              std::to_string(unscored.size()) + " of " + std::to_string(names.size()) +
                  " sites have no importance, the first is '" + unscored.front() +
                  "'; score them (a mask trained for it on all of them will do), narrow `sites`, or leave them out "
                  "with unscored = \"frozen\"");
}

std::string joined(const std::vector<Allotted>& allotted, Choice choice) {
  std::string result;
  for (const Allotted& each : allotted) {
    if (each.choice == choice) result += (result.empty() ? "" : ",") + each.site;
  }
  return result;
}

// Applies the recipe to the sites that were allotted to it.
Field apply(OpContext& context, const char* role, const std::string& chosen, const Field& model) {
  if (chosen.empty()) return model;
  Recipe recipe = context.recipe_param(role);
  recipe.params["sites"] = chosen;
  const Value value = context.call(recipe, {{"model", model}}, role);
  for (const auto& [name, field] : value.fields) {
    if (field.type == "model") return field;
  }
  throw Error(ErrorKind::usage, std::string("the recipe `") + role + "` gives no model");
}

std::string with_separators(std::int64_t number) {
  std::string digits = std::to_string(number);
  for (auto at = static_cast<std::int64_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<std::size_t>(at), ",");
  return digits;
}

struct Labels {
  std::string strong, light;
  std::string of(Choice choice) const {
    return choice == Choice::strong ? strong : choice == Choice::light ? light : "frozen";
  }
};

Table allocation_table(const std::vector<Allotted>& allotted, const Labels& labels) {
  Table table;
  table.add_column("site", "text");
  table.add_column("layer", "integer");
  table.add_column("importance", "real");
  table.add_column("choice", "text");
  table.add_column("reason", "text");
  for (const Allotted& each : allotted) {
    table.add_row(
        {each.site, each.layer, each.scored ? Json(each.importance) : Json(), labels.of(each.choice), each.reason});
  }
  return table;
}

void log_allocation(OpContext& context, const std::vector<Allotted>& allotted, const std::string& measure,
                    const Labels& labels, const Model::Counts& counts) {
  for (const Allotted& each : allotted) {
    char number[32];
    std::snprintf(number, sizeof number, "%.4f", each.importance);
    const std::string score = each.scored ? std::string(number) + " (" + measure + ")" : each.reason;
    context.log(each.site + ": " + score + " -> " + labels.of(each.choice));
  }
  char percent[32];
  std::snprintf(percent, sizeof percent, "%.3f%%",
                100.0 * static_cast<double>(counts.trainable) / static_cast<double>(counts.all));
  context.log("Trainable params: " + with_separators(counts.trainable) +
              " || all params: " + with_separators(counts.all) + " || trainable%: " + percent);
}

Scalar count_scalar(std::int64_t value) {
  return {static_cast<double>(value), 1, {}, "", Better::neither, {}};
}

}  // namespace

Value allocate_adapters(OpContext& context) {
  const Model source = Model::from_field(context.input("model"));
  const auto names = tunable_sites(context, source);
  const Scores scores = scores_for(context, names);
  AllocationRule rule;
  rule.policy = policy_of(context);
  rule.unit = context.param<std::string>("unit") == "layer" ? Unit::layer : Unit::site;
  rule.application_ratio = context.param<double>("peft_application_ratio");
  rule.importance_threshold = context.param<double>("importance_threshold");
  const auto allotted = allot(candidates_for(context, source, names, scores), rule);

  Model frozen = source.mutable_copy(std::vector<std::string>{});
  frozen.set_sites_trainable(false);
  frozen.set_adapters_trainable(false);
  Field field = apply(context, "strong", joined(allotted, Choice::strong), frozen.to_field());
  field = apply(context, "light", joined(allotted, Choice::light), field);
  Model model = Model::from_field(field);
  model.set_sites_trainable(false);

  const Labels labels{short_name(context.recipe_param("strong")), short_name(context.recipe_param("light"))};
  const Model::Counts counts = model.counts();
  log_allocation(context, allotted, scores.measure, labels, counts);
  std::map<Choice, std::int64_t> chosen;
  for (const Allotted& each : allotted) ++chosen[each.choice];
  Value value;
  value.fields["model"] = model.to_field();
  value.fields["allocation"] = to_field(allocation_table(allotted, labels));
  value.fields["trainable_percent"] =
      to_field(Scalar{100.0 * static_cast<double>(counts.trainable) / static_cast<double>(counts.all),
                      counts.all,
                      {},
                      "%",
                      Better::lower,
                      {}});
  value.fields["strong_count"] = to_field(count_scalar(chosen[Choice::strong]));
  value.fields["light_count"] = to_field(count_scalar(chosen[Choice::light]));
  return value;
}

}  // namespace colonnade
