#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <set>

#include "colonnade/colonnade.h"
#include "colonnade/tensor/editing.h"
#include "forms.h"
#include "ops.h"
#include "patch_file.h"
#include "site_code.h"

namespace colonnade::realize {

namespace {

constexpr double dense_bytes = 4;  // of a number in fp32
constexpr double bits_in_byte = 8;

/// A sum over sites.
struct Sum {
  double bytes = 0, nominal = 0, elements = 0;

  void add(double site_bytes, double site_nominal, const SiteSpec& site) {
    bytes += site_bytes;
    nominal += site_nominal;
    elements += static_cast<double>(site.elements());
  }
};

std::string default_sites(const Model& model) {
  std::string names;
  for (const SiteSpec& site : model.sites()) {
    if (model.weight(site.name).has_reference()) names += (names.empty() ? "" : ",") + site.name;
  }
  return names.empty() ? "kind:linear,kind:conv1d" : names;
}

/// Bits of n numbers of which a share, at random positions, is not zero.
double position_bits(double elements, double nonzero) {
  const double density = elements > 0 ? nonzero / elements : 0;
  if (density <= 0 || density >= 1) return 0;
  return -elements * (density * std::log2(density) + (1 - density) * std::log2(1 - density));
}

double bound_of(const SiteSpec& site, const SiteCode& code, ValueType values) {
  const auto numbers = static_cast<double>(code.nonzero + code.rank * (site.rows() + site.columns()));
  const double positions = position_bits(static_cast<double>(site.elements()), static_cast<double>(code.nonzero));
  return (positions + numbers * bits_of(values)) / bits_in_byte;
}

/// The site by itself, without a base, in the cheaper of two ways: U Vᵀ as factors, or within the weight. What a
/// reference holds is stored with it, in fp32.
SiteCode encode_whole(const SiteSpec& site, const SiteWeight& weight, const Coding& coding,
                      const SiteCode& difference) {
  if (!weight.has_reference() && weight.rank() == 0) return difference;
  const Coding whole = weight.has_reference() ? Coding{} : coding;
  SiteWeight merged;
  merged.sparse = effective_weight(weight);
  const SiteCode one = encode_site(site, merged, whole, {});
  if (weight.rank() == 0) return one;
  const SiteCode other = weight.has_reference() ? encode_site(site, without_reference(weight), whole, {}) : difference;
  return one.bytes.size() < other.bytes.size() ? one : other;
}

bool differs(const SiteSpec& site, const SiteCode& code, const SiteWeight& weight, const std::optional<Model>& tuned) {
  const bool now = code.nonzero > 0 || code.rank > 0;
  if (now || !tuned) return now;
  const Tensor before = effective_weight(tuned->weight(site.name));
  return weight.has_reference() ? !at::equal(before, weight.reference)
                                : before.count_nonzero().item<std::int64_t>() > 0;
}

Table report_table() {
  Table table;
  table.add_column("site", "text");
  table.add_column("layer", "integer");
  table.add_column("chosen", "bool");
  table.add_column("differs", "bool");
  table.add_column("form", "text");
  table.add_column("elements", "integer");
  table.add_column("nonzero", "integer");
  table.add_column("rank", "integer");
  table.add_column("bytes", "integer", "B");
  table.add_column("bound", "real", "B");
  table.add_column("dense", "integer", "B");
  return table;
}

Field scalar(double value, double n, const char* unit, Better better) {
  return to_field(Scalar{value, static_cast<std::int64_t>(n), {}, unit, better, {}});
}

void put(Value& value, const std::string& name, const Sum& sum, double elements) {
  const double dense = elements * dense_bytes;
  value.fields[name] = scalar(sum.bytes, elements, "B", Better::lower);
  value.fields[name + "_compression"] = scalar(dense > 0 ? 1 - sum.bytes / dense : 0, elements, "", Better::higher);
  value.fields["nominal_" + name] = scalar(sum.nominal, elements, "numbers", Better::lower);
  value.fields["nominal_" + name + "_compression"] =
      scalar(elements > 0 ? 1 - sum.nominal / elements : 0, elements, "", Better::higher);
}

}  // namespace

Coding coding_of(const OpContext& context) {
  return {value_type(context.param<std::string>("values")), context.param<std::string>("positions") == "seed"};
}

Model folded(const Model& source) {
  const Model model = with_dense_weights(source);
  std::set<std::string> sites;
  for (const AttachedAdapter& attached : model.adapters()) sites.insert(attached.site);
  if (sites.empty()) return model;
  return editable_copy(model, {sites.begin(), sites.end()});
}

Value stored(OpContext& context) {
  at::NoGradGuard guard;
  const Model model = folded(Model::from_field(context.input("model")));
  std::optional<Model> tuned;
  if (context.has_input("tuned")) tuned = folded(Model::from_field(context.input("tuned")));
  const Coding coding = coding_of(context);
  const auto names = selected_names(chosen_sites(context, model, default_sites(model)));
  const std::set<std::string> chosen(names.begin(), names.end());
  Sum sites, whole, difference;
  double changed = 0, bound = 0;
  Table report = report_table();
  std::int64_t done = 0;
  for (const SiteSpec& site : model.sites()) {
    const SiteWeight& weight = model.weight(site.name);
    const SiteCode code = encode_site(site, weight, coding, drawn_masks(model, site.name));
    const auto bytes = static_cast<double>(code.bytes.size());
    const auto factors = static_cast<double>(code.rank * (site.rows() + site.columns()));
    const double nominal = static_cast<double>(code.nonzero) + factors;
    const bool is_chosen = chosen.contains(site.name), is_changed = differs(site, code, weight, tuned);
    const SiteCode alone = encode_whole(site, weight, coding, code);
    const auto held = static_cast<double>(alone.nonzero + alone.rank * (site.rows() + site.columns()));
    whole.add(static_cast<double>(alone.bytes.size()), held, site);
    difference.add(bytes, nominal, site);
    if (is_chosen) sites.add(bytes, nominal, site);
    if (is_changed) changed += static_cast<double>(site.elements());
    const double least = bound_of(site, code, coding.values);
    bound += least;
    report.add_row({site.name, site.layer, is_chosen, is_changed, code.form, site.elements(), code.nonzero, code.rank,
                    static_cast<std::int64_t>(code.bytes.size()), least,
                    static_cast<std::int64_t>(dense_bytes) * site.elements()});
    context.progress(++done, static_cast<std::int64_t>(model.sites().size()), "sites");
  }
  difference.bytes += patch_header_bytes;
  Value value;
  put(value, "sites", sites, sites.elements);
  put(value, "whole", whole, whole.elements);
  put(value, "difference", difference, changed > 0 ? changed : difference.elements);
  value.fields["bound"] = scalar(bound, changed, "B", Better::neither);
  value.fields["report"] = to_field(report);
  return value;
}

Value rounded(OpContext& context) {
  at::NoGradGuard guard;
  const Model source = folded(Model::from_field(context.input("model")));
  const ValueType values = value_type(context.param<std::string>("values"));
  Model model = source.mutable_copy();
  double lost = 0, all = 0;
  for (const SiteSpec& site : model.sites()) {
    const SiteWeight& before = source.weight(site.name);
    const SiteWeight after = rounded_weight(site, before, values);
    const auto part = [&](const SiteWeight& weight) {
      return weight.has_reference() ? effective_weight(weight) - weight.reference : effective_weight(weight);
    };
    lost += (part(after) - part(before)).to(at::kDouble).square().sum().item<double>();
    all += part(before).to(at::kDouble).square().sum().item<double>();
    model.set_weight(site.name, after);
  }
  Value value;
  value.fields["model"] = model.to_field();
  value.fields["error"] = scalar(all > 0 ? std::sqrt(lost / all) : 0, 1, "", Better::lower);
  return value;
}

}  // namespace colonnade::realize
