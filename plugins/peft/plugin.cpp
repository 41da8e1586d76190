#include "colonnade/colonnade.h"
#include "ops.h"

namespace colonnade {

namespace {

Json default_recipe(const char* op) {
  return {{"op", op}, {"params", Json::object()}};
}

void declare_peft(Registrar& registrar) {
  OpDeclaration& op = registrar.op("peft");
  op.doc(
        "Allots a strong and a light adapter to sites by their importance, and freezes everything else.\n"
        "Units (sites, or layers scored by the mean of their sites) are ranked by importance, equal ones in the "
        "model's order. "
        "three-way: of n units round(peft_application_ratio n) are tuned, of these the first "
        "round(importance_threshold tuned) get the "
        "strong recipe, the rest the light one, all others are frozen. rest-light (also rest-ia3): all n are tuned, "
        "the first "
        "round(importance_threshold n) strongly. uniform-strong, uniform-light: every site the same. strong-only-on: "
        "the strong recipe "
        "on strong_sites. Halves are rounded up. Where the strong recipe has no place (by default on vectors), the "
        "light one stands "
        "in if the policy has one. Importances come from the input, or from `score` applied to the model; every site "
        "needs one. The "
        "recipes are called with `sites` set to what is allotted to them. Adapters that the model already has are "
        "frozen.")
      .example(
          "local tuned = masked:peft { importance = probe:importance {}, strong = col.lora { rank = 8 }, light = "
          "col.ia3 {} }\n"
          "    :train { data = text.train, steps = 300 }")
      .random()
      .input("model", "model", "what is tuned")
      .optional_input("importance", "table", "columns site and importance; rows of other sites are ignored")
      .output("model", "model", "with adapters attached, everything else frozen")
      .output("allocation", "table", "for each site: importance, choice and its reason")
      .output("trainable_percent", "scalar", "trainable elements among all")
      .output("strong_count", "scalar", "sites with the strong recipe")
      .output("light_count", "scalar", "sites with the light recipe")
      .param(recipe("strong", "model", "what the most important sites get").fall_back(default_recipe("lora/lora")))
      .param(recipe("light", "model", "what less important sites get").fall_back(default_recipe("ia3/ia3")))
      .param(recipe("score", "table", "scores the model's sites where no importance is given")
                 .fall_back(default_recipe("mask/importance")))
      .param(choice("policy",
                    {"three-way", "rest-light", "rest-ia3", "uniform-strong", "uniform-light", "strong-only-on"},
                    "how adapters are allotted")
                 .fall_back("three-way"))
      .param(real("peft_application_ratio", "share of the units that is tuned")
                 .range(0, 1)
                 .fall_back(0.3)
                 .searched(Search::linear))
      .param(real("importance_threshold", "share of the tuned units that gets the strong recipe")
                 .range(0, 1)
                 .fall_back(0.5)
                 .searched(Search::linear))
      .param(choice("unit", {"site", "layer"}, "what is ranked").fall_back("site"))
      .param(choice("order", {"importance", "random"}, "rank by importance, or at random as a control")
                 .fall_back("importance"))
      .param(sites("sites", std::string("what may be tuned; by default ") + default_tuned_sites +
                                ", as far as the model has them")
                 .optional())
      .param(sites("strong_sites", "where the strong recipe may stand; by default anywhere but on vectors").optional())
      .param(choice("unscored", {"error", "frozen"}, "sites without an importance").fall_back("error"))
      .run(allocate_adapters);
}

void declare_merge(Registrar& registrar) {
  registrar.op("merge")
      .doc(
          "Folds every adapter of the chosen sites into the weights; the function stays the same.\n"
          "Masks first (what evaluation drops becomes zero), then updates, masked like the weights, so that zeros "
          "stay, then scales, "
          "biases included. Hooks go with the last adapter of their plugin. A scale on a site that is masked and has a "
          "reference would "
          "fill zeros: an error, unless densify allows it.")
      .example("local merged = tuned:merge {}")
      .input("model", "model", "a model with adapters")
      .output("model", "model", "without them")
      .output("report", "table",
              "for each site: adapters, rank of the low-rank part, norm of the update and of its part outside the mask")
      .param(sites("sites", "where adapters are folded; by default everywhere").optional())
      .param(boolean("densify", "give up a site's mask where folding needs it").fall_back(false))
      .param(boolean("trainable", "let later trainings change every weight again").fall_back(false))
      .run(merge_adapters);
}

void declare_contribution(Registrar& registrar) {
  registrar.op("contribution")
      .doc(
          "What each adapter contributes: the change of a metric when it alone is off.\n"
          "change = metric without the adapter - metric of the whole model; a positive change of a loss says that the "
          "adapter helps. "
          "Masks count as adapters: off means the dense weight.")
      .example(
          "local heat = tuned:contribution { data = text.valid, metric = col.perplexity { max_tokens = 20000 }, field "
          "= \"nats\" }")
      .random()
      .input("model", "model", "a model with adapters")
      .input("data", "any", "what the metric is measured on, handed to it as `data`")
      .output("contribution", "table", "site, layer, adapter, change, the metric without it")
      .output("whole", "scalar", "the metric of the whole model")
      .param(recipe("metric", "scalar", "what is measured"))
      .param(text("field", "the metric's output that is read; by default its first").optional())
      .param(sites("sites", "whose adapters; by default all").optional())
      .run(measure_contribution);
}

void declare_allocations(Registrar& registrar) {
  registrar.op("allocations")
      .doc(
          "Counts how many different allocations there are among several.\n"
          "Two are the same where every site has the same choice. Grids over ratios and thresholds often differ in "
          "nothing once shares of few sites are rounded.")
      .example("local all = col.allocations { of = { a.allocation, b.allocation }, names = { \"a\", \"b\" } }")
      .many_input("of", "table", "allocations that `peft` gave")
      .output("by_arm", "table", "for each: its name, the number of its allocation, how many sites have which choice")
      .output("distinct", "scalar", "how many different ones there are")
      .param(list("names", ParamType::string, "what they are called, in the inputs' order"))
      .run(compare_allocations);
}

void register_plugin(Registrar& registrar) {
  declare_peft(registrar);
  declare_merge(registrar);
  declare_contribution(registrar);
  declare_allocations(registrar);
}

}  // namespace

}  // namespace colonnade

COLONNADE_PLUGIN(colonnade::register_plugin);
