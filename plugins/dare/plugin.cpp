#include "colonnade/colonnade.h"
#include "colonnade/tensor/calibration.h"
#include "dare.h"

namespace colonnade::dare {

namespace {

void declare_files(Registrar& registrar) {
  registrar.op("dare_files")
      .doc(
          "Does what `dare` does on files of weights, of any family of models.\n"
          "Reads base and tuned as safetensors, a file or a folder of them each, and gives tuned's files again with "
          "base + f M x (tuned - base) in place of each tensor: same names, types, order and metadata, and beside them "
          "what stands beside tuned's (configuration, vocabulary). Under one seed the masks are those that `dare` "
          "draws "
          "for a model's sites, a site being called like its tensor without `.weight`; computed in fp32 (f64 where a "
          "tensor is), rounded once. A tensor that base lacks, and one of whole numbers, is kept as it is and named in "
          "the report. Files hold no history: a schedule thins tuned's own files each time, and what the same numbers "
          "thinned already is refused. Nothing is held in memory: sizes and l1 take passes of their own over the "
          "files.")
      .example("local thin = col.dare_files { base = \"base\", tuned = \"tuned\", drop_rate = 0.9 }")
      .random()
      .fixed_stream()
      .output("files", "files", "tuned's files, thinned; `export` writes them")
      .output("report", "table", "for each tensor: elements, how many were dropped, the factor, why it was kept whole")
      .output("sparsity", "scalar", "share of the differences that is dropped")
      .param(path("base", "a safetensors file, or a folder of them: what differences are from"))
      .param(path("tuned", "the same of what was made from the base"))
      .param(real("drop_rate", "share to drop").range(0, 1).fall_back(0.9).searched(Search::linear))
      .param(choice("strategy", {"uniform", "magnitude"}, "what decides").fall_back("uniform"))
      .param(choice("rescale", {"inverse_keep", "l1", "none"}, "f").fall_back("inverse_keep"))
      .param(boolean("exact_count", "uniform: drop exactly round(drop_rate n) of a tensor's elements").fall_back(false))
      .run(drop_files);
}

void register_plugin(Registrar& registrar) {
  register_hook(registrar, history_type());
  OpDeclaration& op = registrar.op("dare");
  op.doc(
        "Drops a share of what differs from the reference, and rescales what is left.\n"
        "Acts on S of W = R + S + U V^T: S <- f S x M. uniform: element i survives iff u_i >= drop_rate, with one u in "
        "[0, 1) for each seed, site and element, whatever the stage, so that a schedule of rates is cumulative: its "
        "last mask is the mask of the last rate alone, bit for bit. magnitude: the round(drop_rate n) smallest |S| of "
        "a "
        "site go. structured: whole rows, columns, or variables of the model's symmetries (heads, channels, hidden), "
        "which go at all their sites at once. exact_count drops round(drop_rate n) elements (rows, variables) with the "
        "smallest u instead of each with that probability. f: inverse_keep 1/(1 - rate), which keeps the mean over "
        "draws; l1 keeps each site's sum of |S|; fitted is one f in [1, 1/(1 - rate)] for all sites, by least squared "
        "change of the model's outputs on the data; none. What earlier stages of the same numbers scaled already "
        "counts, "
        "so survivors end at 1/(1 - rate) in all. Sources: Yu et al., Language Models are Super Mario, 2024 (uniform, "
        "magnitude, 1/(1 - rate)); Deng et al., DARE the Extreme, 2024 (fitted). Its authors use it on differences of "
        "0.002 to 0.005 and call dropping whole weights not good: relative noise of the outputs is "
        "sqrt(rate/(1 - rate)), 3 at 0.9, whatever is dropped.")
      .example("local sparse = tuned:relative_to { base = base }:dare { drop_rate = 0.9 }")
      .random()
      .fixed_stream()
      .input("model", "model", "best one that has a reference")
      .optional_input("data", "any", "a text or examples; what `fitted` compares outputs on")
      .output("model", "model", "with masked sites")
      .output("report", "table",
              "for each site: drop_rate in all, elements dropped, sparsity of S, factor now, scale in all, whether an "
              "earlier use was continued")
      .output("sparsity", "scalar", "share of the chosen elements of S that is dropped")
      .output("scale", "scalar", "what survivors are scaled by in all, mean over elements")
      .param(real("drop_rate", "share to drop, in all").range(0, 1).fall_back(0.9).searched(Search::linear))
      .param(choice("strategy", {"uniform", "magnitude", "structured"}, "what decides").fall_back("uniform"))
      .param(text("structure", "what structured drops: rows, columns, or an axis of the model's symmetries")
                 .fall_back("rows"))
      .param(choice("rescale", {"inverse_keep", "l1", "fitted", "none"}, "f").fall_back("inverse_keep"))
      .param(boolean("exact_count", "drop exactly round(drop_rate n) of a site's elements, rows or variables")
                 .fall_back(false))
      .param(boolean("low_rank", "structured: rows and columns of U V^T go too").fall_back(false))
      .param(of_param())
      .param(sites("sites",
                   "what is thinned; by default every site with a reference, in a model without any kind:linear and "
                   "kind:conv1d")
                 .optional());
  constexpr std::int64_t one_batch = 8;
  op.param(samples_param(one_batch)).param(length_param()).run(drop_weights);
  declare_files(registrar);
}

}  // namespace

}  // namespace colonnade::dare

COLONNADE_PLUGIN(colonnade::dare::register_plugin);
