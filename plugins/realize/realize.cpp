#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/tensor/selector.h"
#include "forms.h"
#include "ops.h"

namespace colonnade::realize {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t number_bytes = 4;
constexpr const char* linears = "kind:linear";

/// Seconds by site and form.
using Times = std::map<std::pair<std::string, std::string>, double>;

/// Every chosen site is one that can be realised.
std::vector<std::string> linear_sites(const OpContext& context, const Model& model) {
  const auto names = selected_names(chosen_sites(context, model, linears));
  for (const std::string& name : names) {
    if (model.site(name).kind == SiteKind::linear) continue;
    throw Error(ErrorKind::usage, "site '" + name + "' is of kind " + site_kind_name(model.site(name).kind) +
                                      ", and only linear sites have forms to run in; choose among kind:linear");
  }
  return names;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double seconds_of(const Candidate& candidate, const Tensor& x, std::int64_t repeats) {
  std::vector<double> times;
  product(candidate, x);
  for (std::int64_t i = 0; i < repeats; ++i) {
    const auto start = Clock::now();
    product(candidate, x);
    times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  return median(std::move(times));
}

Times times_from(const Field& field) {
  const Table table = table_from(field);
  Times times;
  const auto &sites = table.column("site").cells, &forms = table.column("form").cells,
             &seconds = table.column("seconds").cells;
  for (std::size_t i = 0; i < table.rows(); ++i) {
    times[{sites.at(i).get<std::string>(), forms.at(i).get<std::string>()}] = seconds.at(i).get<double>();
  }
  return times;
}

double time_of(const Times& times, const std::string& site, const Candidate& candidate) {
  const auto found = times.find({site, candidate.name});
  if (found != times.end()) return found->second;
  throw Error(ErrorKind::input, "the input 'timings' has no time for site '" + site + "' in the form '" +
                                    candidate.name + "'; take the timings of this very model");
}

Candidate cheapest(std::vector<Candidate> all, const std::string& site, const std::optional<Times>& times) {
  std::vector<double> costs;
  for (const Candidate& each : all) {
    costs.push_back(times ? time_of(*times, site, each) : static_cast<double>(each.bytes()));
  }
  return std::move(all[static_cast<std::size_t>(std::min_element(costs.begin(), costs.end()) - costs.begin())]);
}

std::optional<Times> times_asked(const OpContext& context) {
  if (context.param<std::string>("by") == "bytes") return std::nullopt;
  if (context.has_input("timings")) return times_from(context.input("timings"));
  throw Error(ErrorKind::usage,
              "by = \"time\" needs the input `timings`, the times of this model's sites: model:timings {}");
}

}  // namespace

Value timings(OpContext& context) {
  at::NoGradGuard guard;
  const Model model = folded(Model::from_field(context.input("model")));
  const auto names = linear_sites(context, model);
  const auto samples = context.param<std::int64_t>("samples"), repeats = context.param<std::int64_t>("repeats");
  Table table;
  table.add_column("site", "text");
  table.add_column("form", "text");
  table.add_column("bytes", "integer", "B");
  table.add_column("seconds", "real", "s");
  std::int64_t done = 0;
  for (const std::string& name : names) {
    const SiteSpec& site = model.site(name);
    const Tensor x = random_normal(RandomStream(0).at("timings").at(name), {samples, site.columns()}, model.dtype());
    for (const Candidate& each : candidates(model.weight(name))) {
      table.add_row({name, each.name, each.bytes(), seconds_of(each, x, repeats)});
    }
    context.progress(++done, static_cast<std::int64_t>(names.size()), "sites");
  }
  Value value;
  value.fields["timings"] = to_field(table);
  return value;
}

Value realize(OpContext& context) {
  at::NoGradGuard guard;
  const Model source = folded(Model::from_field(context.input("model")));
  const auto names = linear_sites(context, source);
  const auto times = times_asked(context);
  Model model = source.mutable_copy();
  for (const auto& hook : source.hooks()) model.remove_hooks(hook->type());
  Table report;
  report.add_column("site", "text");
  report.add_column("layer", "integer");
  report.add_column("form", "text");
  report.add_column("numbers", "integer");
  report.add_column("bytes", "integer", "B");
  report.add_column("dense", "integer", "B");
  const std::set<std::string> chosen(names.begin(), names.end());
  std::int64_t bytes = 0, elements = 0;
  for (const SiteSpec& site : source.sites()) {
    elements += site.elements();
    if (!chosen.contains(site.name)) {
      Candidate whole{"", without_reference(source.weight(site.name)), std::nullopt};
      bytes += whole.bytes();
      put(model, site.name, std::move(whole));
      continue;
    }
    Candidate best = cheapest(candidates(source.weight(site.name)), site.name, times);
    bytes += best.bytes();
    report.add_row({site.name, site.layer, best.name, best.numbers(), best.bytes(), number_bytes * site.elements()});
    put(model, site.name, std::move(best));
  }
  Value value;
  value.fields["model"] = model.to_field();
  value.fields["report"] = to_field(report);
  value.fields["bytes"] = to_field(Scalar{static_cast<double>(bytes), elements, {}, "B", Better::lower, {}});
  value.fields["compression"] =
      to_field(Scalar{1 - static_cast<double>(bytes) / static_cast<double>(number_bytes * elements),
                      elements,
                      {},
                      "",
                      Better::higher,
                      {}});
  return value;
}

}  // namespace colonnade::realize
