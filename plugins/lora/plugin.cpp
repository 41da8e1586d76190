#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/tensor/selector.h"
#include "lora.h"

namespace colonnade {

namespace {

constexpr const char* default_sites = "kind:linear,kind:conv1d";

Value attach_lora(OpContext& context) {
  const Model source = Model::from_field(context.input("model"));
  const auto names = selected_names(chosen_sites(context, source, default_sites));
  const LoraOptions options{context.param<std::int64_t>("rank"), context.param<double>("alpha"),
                            context.param<double>("dropout"), context.param<bool>("rank_stabilised")};
  Model model = source.mutable_copy(names);
  if (context.param<bool>("freeze")) model.set_sites_trainable(false);
  for (const std::string& name : names) {
    const SiteSpec& site = model.site(name);
    if (site.kind == SiteKind::vector) {
      throw Error(ErrorKind::usage,
                  "lora: site '" + name + "' is a vector, which has no low-rank update; narrow `sites`");
    }
    model.attach(name, make_lora(site, options, model.dtype(), context.random()));
  }
  Value value;
  value.fields["model"] = model.to_field();
  return value;
}

void register_plugin(Registrar& registrar) {
  register_adapter(registrar, lora_type());
  registrar.op("lora")
      .doc(
          "Attaches low-rank adapters to the chosen sites.\n"
          "Each adds ΔW = s · B A to its site's matrix [rows, columns], with A [rank, columns], B [rows, rank] and s = "
          "alpha / "
          "rank (alpha / sqrt(rank) if rank_stabilised). B starts at zero. On a masked site the update is masked too, "
          "so that "
          "merging keeps the zeros. Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021; "
          "Kalajdzievski, A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA, 2023.")
      .example(
          "local tuned = base:lora { rank = 8, sites = \"*.x_proj,*.out_proj\" }:train { data = text.train, steps = "
          "200 }")
      .random()
      .input("model", "model", "what is adapted")
      .output("model", "model", "with adapters attached, everything else frozen")
      .param(sites("sites",
                   std::string("where adapters go; by default ") + default_sites + ", as far as the model has them")
                 .optional())
      .param(integer("rank", "rank of the update").range(1, std::nullopt).fall_back(8).searched(Search::log))
      .param(real("alpha", "scale of the update, before division by the rank")
                 .above(0)
                 .fall_back(32.0)
                 .searched(Search::log))
      .param(real("dropout", "share of the branch's inputs dropped in training")
                 .range(0, std::nullopt)
                 .below(1)
                 .fall_back(0.0))
      .param(boolean("rank_stabilised", "divide alpha by the root of the rank").fall_back(false))
      .param(boolean("freeze", "train nothing but adapters from here on").fall_back(true))
      .run(attach_lora);
}

}  // namespace

}  // namespace colonnade

COLONNADE_PLUGIN(colonnade::register_plugin);
