#include "colonnade/colonnade.h"
#include "colonnade/tensor/model.h"
#include "form.h"
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

void declare_realize(Registrar& registrar) {
  registrar.op("timings")
      .doc(
          "Times every form that each linear site can run in, on this machine.\n"
          "For each form of a site's weight the median of `repeats` products with `samples` rows of random numbers, "
          "after one that does not count: dense; compact, without the rows and columns that are all zero; sparse, row "
          "by row; low rank; and these beside U V^T.")
      .example("local quick = small:realize { by = \"time\", timings = small:timings { samples = 400 } }")
      .measured()
      .input("model", "model", "whose sites; adapters are folded in")
      .output("timings", "table", "site, form, bytes in memory, seconds")
      .param(sites("sites", "linear sites; by default all").optional())
      .param(integer("samples", "rows of a product: tokens of all sequences of a batch")
                 .range(1, std::nullopt)
                 .fall_back(256))
      .param(integer("repeats", "products that count").range(1, std::nullopt).fall_back(5))
      .run(timings);
  registrar.op("realize")
      .doc(
          "Turns a compressed model into one that runs in what compression left of it.\n"
          "Each chosen site takes the form that costs least, in bytes of memory or in time: dense, which is W = R + S "
          "+ "
          "U V^T; R + S without rows and columns that are all zero; R + S sparse, row by row; nothing where R + S is "
          "zero; beside U V^T as two factors. Products are computed in that form: no zeros, no U V^T formed. Outputs "
          "are those "
          "of the model up to rounding. References are given up, and so are hooks. The form hangs at the site as an "
          "adapter beside an S that is nothing; what edits the model afterwards folds it into a dense S. `compact` "
          "stores it in one file.")
      .example("local quick = small:realize { by = \"time\", timings = small:timings {} }")
      .input("model", "model", "what is realised; adapters are folded in")
      .optional_input("timings", "table", "of `timings` on this model, for by = \"time\"")
      .output("model", "model", "to run")
      .output("report", "table", "for each site: form, numbers held, bytes in memory, dense bytes")
      .output("bytes", "scalar", "of all weights in memory")
      .output("compression", "scalar", "1 - bytes / dense fp32")
      .param(choice("by", {"bytes", "time"}, "what costs").fall_back("bytes"))
      .param(sites("sites", "linear sites; by default all").optional())
      .run(realize);
}

void declare_files(Registrar& registrar) {
  registrar.op("compact")
      .doc(std::string("Writes a model as one file in the cheapest coding, model.compact.\n"
                       "Whole, without a base: what a reference holds is part of S. A realised model comes back in its "
                       "forms. With values = \"fp32\" `realize/load` gives back a model of the same outputs, bit for "
                       "bit. ") +
           coding_doc)
      .example("local files = small:realize {}:compact { values = \"fp16\" }")
      .input("model", "model", "what is written; adapters are folded in")
      .output("files", "files", "model.compact")
      .output("bytes", "scalar", "size of the file")
      .param(values_param())
      .param(positions_param())
      .run(compact);
  registrar.op("load")
      .doc(
          "Reads the model that `compact` wrote.\n"
          "Sites that were realised are so again; others have S and U V^T, and neither reference nor mask.")
      .example("local small = col.op \"realize/load\" { path = \"exported/model.compact\" }")
      .output("model", "model", "as it was written")
      .param(path("path", "the file, or the folder of model.compact"))
      .run(load);
  registrar.op("hf")
      .doc(
          "Writes a model in Hugging Face's layout, as transformers opens it.\n"
          "Every weight dense, as W = R + S + U V^T, in model.safetensors, or in several files with an index where "
          "they "
          "take more than `shard_bytes`; config.json, and for models of pictures preprocessor_config.json with the "
          "published means. A tokenizer is not part of a model.")
      .example("local files = small:hf {}")
      .input("model", "model", "of a family with a published layout; adapters are folded in")
      .output("files", "files", "config.json, model.safetensors, ...")
      .output("bytes", "scalar", "of all files")
      .param(real("shard_bytes", "most bytes of tensors in one file; a tensor of more has its own")
                 .above(0)
                 .fall_back(usual_shard_bytes())
                 .in("B"))
      .run(hf);
}

void register_plugin(Registrar& registrar) {
  register_adapter(registrar, running_adapter_type());
  declare_stored(registrar);
  declare_rounded(registrar);
  declare_patch(registrar);
  declare_realize(registrar);
  declare_files(registrar);
}

}  // namespace

}  // namespace colonnade::realize

COLONNADE_PLUGIN(colonnade::realize::register_plugin);
