#include "colonnade/colonnade.h"
#include "colonnade/tensor/model.h"
#include "ops.h"
#include "values.h"

namespace colonnade::realize {

namespace {

constexpr const char* coding_doc =
    "A matrix takes the cheapest of these forms: empty; dense; sparse, its positions coded by distance with an "
    "adaptive "
    "arithmetic coder; structured, the rows and columns that are not all zero; seeded, the two numbers that its mask "
    "was "
    "drawn by in place of positions (with positions = \"seed\", where a hook of the model remembers them and they "
    "still "
    "hold). U V^T is two matrices.";

Param positions_param() {
  return choice("positions", {"entropy", "seed"}, "whether a drawn mask's numbers may stand for positions")
      .fall_back("entropy");
}

void declare_stored(Registrar& registrar) {
  OpDeclaration& op = registrar.op("stored");
  op.doc(
        std::string("Counts the bytes that a model takes when it is stored in the cheapest coding.\n"
                    "Encodes every site with the coder that `patch` writes with and counts. sites: the chosen sites' S "
                    "+ U V^T (the difference, where there is a reference). whole: every site by itself, a reference "
                    "counted in, which is stored in fp32. difference: the patch file, S + U V^T of every site and its "
                    "header. X_compression = 1 - X / dense, dense being fp32 of the chosen sites, of all, and of all "
                    "that differ from the reference: now, or in `tuned`. Without a reference the difference is from "
                    "zero. nominal_X counts numbers, nnz(S) + r (m + n), and no positions. bound: nnz(S) positions at "
                    "random, n H2(density) bits, and the numbers' bits. ") +
        coding_doc)
      .example("local size = small:stored { values = \"fp16\", tuned = tuned }")
      .input("model", "model", "what is stored; adapters are folded in")
      .optional_input("tuned", "model",
                      "the model before it was compressed: what it changed is the dense difference, though compression "
                      "may have emptied it");
  for (const char* of : {"sites", "whole", "difference"}) {
    const std::string name = of;
    op.output(name, "scalar", "bytes, stored")
        .output(name + "_compression", "scalar", "1 - stored / dense fp32")
        .output("nominal_" + name, "scalar", "numbers held, positions not counted")
        .output("nominal_" + name + "_compression", "scalar", "1 - nominal / elements");
  }
  op.output("bound", "scalar", "bytes that the difference would take with positions at their entropy")
      .output("report", "table", "for each site: form, elements, what is not zero, rank, bytes, bound, dense bytes")
      .param(sites("sites",
                   "what counts as sites; by default those with a reference, in a model without any "
                   "kind:linear,kind:conv1d; a site narrowed to a part counts whole")
                 .optional())
      .param(values_param())
      .param(positions_param())
      .run(stored);
}

void declare_rounded(Registrar& registrar) {
  registrar.op("rounded")
      .doc(
          "Rounds a model's numbers to what would be stored.\n"
          "S, U and V become what `patch` gives back with the same `values`, so that the quality of what is stored can "
          "be measured; references stay. fp32, fp16, bf16: the nearest number. int8: q s with q in -127 .. 127 and s = "
          "max / 127 rounded up to 16 bits, one s for a site's S and for each column of U and V. sign: s or -s, s the "
          "mean size of what is not zero, as BitDelta has it (Liu et al., 2024). Zeros stay zero. Rounding again "
          "changes nothing.")
      .example("local quality = small:rounded { values = \"int8\" }:zero_shot { data = classes }")
      .input("model", "model", "what is rounded; adapters are folded in")
      .output("model", "model", "rounded")
      .output("error", "scalar", "norm of the change over norm of S + U V^T, all sites together")
      .param(values_param())
      .run(rounded);
}

void declare_patch(Registrar& registrar) {
  registrar.op("patch")
      .doc(
          std::string("Writes what differs from the reference as a file on the base, model.patch.\n"
                      "S + U V^T of every site, in the architecture's order, after a header of 82 bytes: format, value "
                      "type, hashes of the structure, the base and the file. Sites without a reference are written "
                      "whole. ") +
          coding_doc)
      .example("local files = small:patch { values = \"fp16\" }")
      .input("model", "model", "a model with a reference; adapters are folded in")
      .output("files", "files", "model.patch")
      .output("bytes", "scalar", "size of the file, `difference` of `stored`")
      .param(values_param())
      .param(positions_param())
      .run(patch);
  registrar.op("apply_patch")
      .doc(
          "Makes of a base the model that a patch was written from.\n"
          "References become the base's weights; S, U and V come from the patch: bit for bit those of the model with "
          "values = \"fp32\", else those of the model rounded. Masks and hooks are not in a patch. A patch that was "
          "made on other weights is refused.")
      .example("local small = base:apply_patch { path = \"exported/model.patch\" }")
      .input("base", "model", "what the patch was made on")
      .output("model", "model", "base and difference")
      .param(path("path", "the patch, or the folder of model.patch"))
      .run(apply_patch);
}

void register_plugin(Registrar& registrar) {
  declare_stored(registrar);
  declare_rounded(registrar);
  declare_patch(registrar);
}

}  // namespace

}  // namespace colonnade::realize

COLONNADE_PLUGIN(colonnade::realize::register_plugin);
