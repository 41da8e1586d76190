#include "budget.h"
#include "colonnade/colonnade.h"
#include "ops.h"

namespace colonnade {

namespace {

const std::vector<std::string> granularities = {"element", "row", "column", "block"};

void declare_division(OpDeclaration& op) {
  op.param(sites("sites", std::string("what is masked; by default ") + default_masked_sites +
                              " as far as the model has them; in a model that has none, kind:linear")
               .optional())
      .param(choice("granularity", granularities, "what one decision keeps or drops").fall_back("element"))
      .param(integer("block_rows", "rows of a block").range(1, std::nullopt).fall_back(8))
      .param(integer("block_columns", "columns of a block").range(1, std::nullopt).fall_back(8));
}

void declare_calibration(OpDeclaration& op) {
  constexpr std::int64_t usual_samples = 64;
  op.param(integer("samples", "examples that are looked at, where the data is examples, spread evenly")
               .range(1, std::nullopt)
               .fall_back(usual_samples))
      .param(integer("tokens", "tokens of a text that are looked at, in windows spread evenly")
                 .range(1, std::nullopt)
                 .fall_back(8192))
      .param(integer("length", "tokens in a window").range(1, std::nullopt).fall_back(256));
}

void declare_mask(Registrar& registrar) {
  OpDeclaration& op = registrar.op("mask");
  op.doc(
        "Attaches learned masks to the chosen sites.\n"
        "A logit L for each element, row, column or block. Training uses M = sigmoid((L + G) / temperature) in W x M "
        "(elementwise), G "
        "logistic (the binary concrete relaxation of Maddison et al., 2017) or one-sided Gumbel (biased upwards); "
        "straight_through "
        "uses 1(L + G > 0) with that gradient. The penalty weight * |soft - target|, with soft = 1 - mean sigmoid(L) "
        "over all masked "
        "elements, is added to the training loss; its weight is a Lagrangian multiplier that grows by multiplier_rate "
        "* |soft - "
        "target| a step, or the fixed sparsity_weight. Evaluation keeps the (1 - target) n largest L over all sites "
        "(\"budget\"), or "
        "L > 0 (\"zero\"). The target counts the elements masked here, not the model's. The mask is learned by `train` "
        "and folded "
        "into the weights by `harden`.")
      .example(
          "local masked = base:mask { target_sparsity = 0.5 }:train { data = text.train, steps = 300 }:harden { data = "
          "text.valid }")
      .random()
      .input("model", "model", "what is masked")
      .output("model", "model", "with learned masks and their budget attached");
  declare_division(op);
  op.param(choice("noise", {"logistic", "gumbel"}, "G").fall_back("logistic"))
      .param(real("temperature", "of the relaxation, at the start of a training")
                 .above(0)
                 .fall_back(0.5)
                 .searched(Search::log))
      .param(real("final_temperature", "reached exponentially at the end of a training; by default constant")
                 .above(0)
                 .optional())
      .param(boolean("straight_through", "sample zeros and ones in training").fall_back(false))
      .param(real("initial_logit", "where every L starts, but for a little noise").fall_back(1.0))
      .param(real("logit_rate", "learning rate of the logits, in units of the training's")
                 .above(0)
                 .fall_back(50.0)
                 .searched(Search::log))
      .param(real("target_sparsity", "share of the masked elements to drop")
                 .range(0, 1)
                 .fall_back(0.5)
                 .searched(Search::linear))
      .param(choice("penalty", {"lagrangian", "fixed"}, "weight of the penalty").fall_back("lagrangian"))
      .param(real("sparsity_weight", "weight of the fixed penalty, in nats")
                 .above(0)
                 .fall_back(1e-5)
                 .searched(Search::log))
      .param(real("multiplier_rate", "ascent of the multiplier").above(0).fall_back(1.0).searched(Search::log))
      .param(choice("threshold", {"budget", "zero"}, "what evaluation keeps").fall_back("budget"))
      .run(attach_masks);
}

void declare_harden(Registrar& registrar) {
  OpDeclaration& op = registrar.op("harden");
  op.doc(
        "Folds learned masks into the weights: what evaluation dropped becomes zero and stays zero.\n"
        "The masks, their logits and their budget go; other adapters stay, and their updates are masked from now on. "
        "With data, the "
        "report has each site's cosine loss, the mean over tokens of 1 - cos(masked output, dense output) on its "
        "masked rows, "
        "both models run on their own; and `gap` is the loss evaluated with hard masks minus the loss as training saw "
        "it, with "
        "sampled ones. Without data these are missing (gap is NaN over 0 tokens). importance is the mean of "
        "sigmoid(L).")
      .example("local sparse = masked:harden { data = text.valid }")
      .random()
      .input("model", "model", "a model with learned masks")
      .optional_input("data", "any", "a text or examples for cosine losses and the gap")
      .output("model", "model", "with masked weights")
      .output("report", "table", "for each site: elements, sparsity, soft sparsity, importance, cosine loss")
      .output("sparsity", "scalar", "share of the masked elements that is zero")
      .output("soft_sparsity", "scalar", "1 - mean sigmoid(L) over the masked elements")
      .output("gap", "scalar", "evaluated minus trained loss");
  declare_calibration(op);
  op.run(harden_masks);
}

void declare_fixed(Registrar& registrar) {
  OpDeclaration& op = registrar.op("fixed");
  op.doc(
        "Masks the chosen sites by a rule, without training.\n"
        "Keeps the highest scores: random (uniform numbers), magnitude (|S|) or wanda (|S| times the L2 norm of the "
        "input over the "
        "data; Sun et al., A Simple and Effective Pruning Approach for Large Language Models, 2024; for a convolution "
        "the norm of "
        "the channel's own input). Rows, columns and blocks score the mean of their elements. Scores compete over all "
        "sites, within "
        "a site, or within a row; by default within rows for wanda, as published, else over all sites. Counts are "
        "exact; equal "
        "scores are settled by order. Zeros that a site has already score lowest, so that a second use drops more only "
        "beyond them.")
      .example("local pruned = base:fixed { method = \"magnitude\", sparsity = 0.5 }")
      .random()
      .input("model", "model", "what is masked")
      .optional_input("data", "any", "a text or examples for wanda and for cosine losses")
      .output("model", "model", "with masked weights")
      .output("report", "table", "for each site: elements, sparsity, cosine loss (with data)")
      .output("sparsity", "scalar", "share of the chosen elements that is zero")
      .param(choice("method", {"magnitude", "random", "wanda"}, "how elements are scored").fall_back("magnitude"))
      .param(
          real("sparsity", "share of the chosen elements to drop").range(0, 1).fall_back(0.5).searched(Search::linear))
      .param(choice("scope", {"method", "all", "site", "row"},
                    "among what scores compete; \"method\": as the method was published")
                 .fall_back("method"));
  declare_division(op);
  declare_calibration(op);
  op.run(mask_fixed);
}

void declare_importance(Registrar& registrar) {
  OpDeclaration& op = registrar.op("importance");
  op.doc(
        "Scores how much each site matters, for allocating adapters.\n"
        "sigma: mean of sigmoid(L) over the site's mask. logit_magnitude: mean |L|; it ranks sites high whose weights "
        "are confidently "
        "*dropped*, so it is there for comparison. mask_mean: mean of M over the steps of the training. gradient: mean "
        "|d loss / d W| "
        "on the data. weight_norm: root of the mean squared weight. random: uniform numbers, as a control. The first "
        "three read "
        "learned masks and score the masked sites; the others score any, by default "
        "kind:linear,kind:conv1d,*norm* as far as the model has them.")
      .example("local scores = probe:importance { method = \"sigma\" }")
      .random()
      .input("model", "model", "what is scored")
      .optional_input("data", "any", "a text or examples for the gradient")
      .output("importance", "table", "site, layer, importance, measure, elements")
      .param(choice("method", {"sigma", "logit_magnitude", "mask_mean", "gradient", "weight_norm", "random"},
                    "what is measured")
                 .fall_back("sigma"))
      .param(sites("sites", "what is scored; by default all that the method can").optional());
  declare_calibration(op);
  op.run(score_importance);
}

void register_plugin(Registrar& registrar) {
  register_adapter(registrar, mask_type());
  register_hook(registrar, budget_type());
  declare_mask(registrar);
  declare_harden(registrar);
  declare_fixed(registrar);
  declare_importance(registrar);
}

}  // namespace

}  // namespace colonnade

COLONNADE_PLUGIN(colonnade::register_plugin);
