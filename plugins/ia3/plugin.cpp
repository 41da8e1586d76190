#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/tensor/selector.h"
#include "ia3.h"

namespace colonnade {

namespace {

constexpr const char* default_sites = "kind:linear,kind:conv1d,*norm*";

Value attach_ia3(OpContext& context) {
  const Model source = Model::from_field(context.input("model"));
  const auto names = selected_names(chosen_sites(context, source, default_sites));
  Model model = source.mutable_copy(names);
  if (context.param<bool>("freeze")) model.set_sites_trainable(false);
  for (const std::string& name : names) model.attach(name, make_ia3(model.site(name), model.dtype()));
  Value value;
  value.fields["model"] = model.to_field();
  return value;
}

void register_plugin(Registrar& registrar) {
  register_adapter(registrar, ia3_type());
  registrar.op("ia3")
      .doc(
          "Attaches learned scales to the chosen sites.\n"
          "A vector l, one at first, multiplies the site's output (its bias included): y = l ⊙ (W x + b); for down "
          "projections of "
          "feed-forward blocks it multiplies the input. Acts on linears, convolutions and norms. Merging scales the "
          "rows of W and "
          "b. Source: Liu et al., Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context "
          "Learning, 2022.")
      .example("local tuned = base:ia3 { sites = \"role:in_proj\" }:train { data = text.train, steps = 200 }")
      .input("model", "model", "what is adapted")
      .output("model", "model", "with adapters attached, everything else frozen")
      .param(
          sites("sites", std::string("where scales go; by default ") + default_sites + ", as far as the model has them")
              .optional())
      .param(boolean("freeze", "train nothing but adapters from here on").fall_back(true))
      .run(attach_ia3);
}

}  // namespace

}  // namespace colonnade

COLONNADE_PLUGIN(colonnade::register_plugin);
