#include "colonnade/tensor/statistics.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <set>

#include "colonnade/error.h"

namespace colonnade {

namespace {

constexpr const char* statistics_type = "statistics";

class Moments final : public Observer {
 public:
  explicit Moments(const std::vector<std::string>& sites) : wanted_(sites.begin(), sites.end()) {}
  bool wants_site(const SiteSpec& site) const override { return wanted_.contains(site.name); }
  void on_site(const SiteSpec& site, const Tensor& input, const Tensor&) override {
    Tensor x = input.reshape({-1, input.size(-1)}).to(at::kDouble);
    SiteStatistics& sums = found.sites[site.name];
    if (!sums.gram.defined()) sums.gram = at::zeros({x.size(1), x.size(1)}, at::kDouble);
    sums.gram.addmm_(x.t(), x);
    sums.count += x.size(0);
  }

  Statistics found;

 private:
  std::set<std::string> wanted_;
};

}  // namespace

const SiteStatistics& Statistics::at(const SiteSpec& site) const {
  const auto found = sites.find(site.name);
  if (found == sites.end()) {
    std::vector<std::string> names;
    for (const auto& [name, statistics] : sites) names.push_back(name);
    throw Error(ErrorKind::input, "the statistics have nothing of site '" + site.name + "'; they were collected at " +
                                      std::to_string(names.size()) + " sites, with other `sites`" +
                                      did_you_mean(site.name, names));
  }
  if (found->second.gram.size(0) != site.columns()) {
    throw Error(ErrorKind::input, "the statistics of site '" + site.name + "' are of " +
                                      std::to_string(found->second.gram.size(0)) + " inputs, the site has " +
                                      std::to_string(site.columns()));
  }
  return found->second;
}

Statistics collect_statistics(const Model& model, const std::vector<std::string>& sites,
                              const std::vector<Batch>& batches) {
  at::NoGradGuard guard;
  for (const std::string& name : sites) {
    const SiteSpec& site = model.site(name);
    if (site.kind == SiteKind::linear) continue;
    throw Error(ErrorKind::usage, "site '" + name + "' is of kind " + site_kind_name(site.kind) +
                                      ", which has no vectors of inputs; narrow `sites` to kind:linear");
  }
  Moments moments(sites);
  for (const Batch& batch : batches) model.forward(batch, {}, &moments);
  for (const std::string& name : sites) {
    const auto found = moments.found.sites.find(name);
    if (found == moments.found.sites.end())
      throw Error(ErrorKind::input, "the model never uses its site '" + name + "' on this data");
    require_finite(found->second.gram, "the inputs of site '" + name + "'");
  }
  return std::move(moments.found);
}

Field to_field(const Statistics& statistics) {
  Field field;
  field.type = statistics_type;
  Json counts = Json::object();
  for (const auto& [name, site] : statistics.sites) {
    counts[name] = site.count;
    field.tensors.emplace(name, to_blob(site.gram));
  }
  field.document = {{"counts", counts}};
  return field;
}

Statistics statistics_from(const Field& field) {
  if (field.type != statistics_type) {
    throw Error(ErrorKind::input, "expected statistics of activations, found a value of type '" + field.type + "'");
  }
  Statistics statistics;
  for (const auto& [name, blob] : field.tensors) {
    Tensor gram = to_tensor(blob);
    const bool square = gram.dim() == 2 && gram.size(0) == gram.size(1) && gram.scalar_type() == at::kDouble;
    if (!square || !field.document.contains("counts") || !field.document.at("counts").contains(name)) {
      throw Error(ErrorKind::input, "the statistics of site '" + name + "' are no square matrix of f64 with a count");
    }
    statistics.sites[name] = {gram, field.document.at("counts").at(name).get<std::int64_t>()};
  }
  return statistics;
}

}  // namespace colonnade
