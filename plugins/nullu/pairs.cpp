#include "pairs.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <set>

#include "colonnade/error.h"

namespace colonnade::nullu {

namespace {

constexpr const char* kType = "nullu/contrasts";
constexpr double rank_tolerance = 1e-12;  // of the norm of E, in f64

class Rows final : public Observer {
 public:
  Rows(const std::vector<std::string>& sites, Side side, Positions positions)
      : wanted_(sites.begin(), sites.end()), side_(side), positions_(positions) {}
  bool wants_site(const SiteSpec& site) const override { return wanted_.contains(site.name); }
  void on_site(const SiteSpec& site, const Tensor& input, const Tensor& output) override {
    Tensor x = (side_ == Side::output ? output : input).to(at::kDouble);
    if (x.dim() > 2) {
      x = x.reshape({x.size(0), -1, x.size(-1)});
      x = positions_ == Positions::mean ? x.mean(1) : x.select(1, x.size(1) - 1);
    }
    rows_[site.name].push_back(x.clone());
  }
  // [pairs, D]
  Tensor rows(const std::string& site) const {
    const auto found = rows_.find(site);
    if (found == rows_.end())
      throw Error(ErrorKind::input, "the model never uses its site '" + site + "' on this data");
    return at::cat(found->second, 0);
  }

 private:
  std::set<std::string> wanted_;
  Side side_;
  Positions positions_;
  std::map<std::string, std::vector<Tensor>> rows_;
};

void require_pairs(const std::vector<Batch>& truthful, const std::vector<Batch>& false_ones) {
  const auto count = [](const std::vector<Batch>& batches) {
    std::int64_t rows = 0;
    for (const Batch& batch : batches) rows += batch.tensors.begin()->second.size(0);
    return rows;
  };
  if (truthful.size() == false_ones.size() && count(truthful) == count(false_ones)) return;
  throw Error(ErrorKind::input, "the pairs do not match: " + std::to_string(count(truthful)) + " samples against " +
                                    std::to_string(count(false_ones)) + "; both sides have as many, in the same order");
}

}  // namespace

Contrasts collect_contrasts(const Model& model, const std::vector<std::string>& sites,
                            const std::vector<Batch>& truthful, const std::vector<Batch>& false_ones, Side side,
                            Positions positions) {
  at::NoGradGuard guard;
  require_pairs(truthful, false_ones);
  for (const std::string& name : sites) {
    const SiteSpec& site = model.site(name);
    if (site.kind == SiteKind::linear) continue;
    throw Error(ErrorKind::usage,
                "site '" + name + "' is of kind " + site_kind_name(site.kind) + "; projecting is for kind:linear");
  }
  Rows of_true(sites, side, positions), of_false(sites, side, positions);
  for (const Batch& batch : truthful) model.forward(batch, {}, &of_true);
  for (const Batch& batch : false_ones) model.forward(batch, {}, &of_false);
  Contrasts contrasts{side, {}};
  for (const std::string& site : sites) {
    const Tensor right = of_true.rows(site), wrong = of_false.rows(site);
    if (right.size(0) != wrong.size(0)) {
      throw Error(ErrorKind::input, "the pairs do not match: site '" + site + "' saw " + std::to_string(right.size(0)) +
                                        " samples against " + std::to_string(wrong.size(0)) +
                                        "; both sides have as many, in the same order");
    }
    require_finite(right, "what site '" + site + "' gives");
    require_finite(wrong, "what site '" + site + "' gives");
    const Tensor directions = std::get<2>(at::linalg_svd(right, false));
    contrasts.sites[site] = {(right - wrong) / 2, directions.select(0, 0).contiguous()};
  }
  return contrasts;
}

Subspace subspace_of(const Contrast& contrast, const SubspaceRule& rule) {
  Tensor differences = contrast.difference;
  if (rule.centring != 0) {
    differences = differences - rule.centring * at::outer(at::mv(differences, contrast.leading), contrast.leading);
  }
  auto [left, singular, right] = at::linalg_svd(differences, false);
  // Beyond the rank of E, rounding aside, singular vectors are any directions.
  const double least = rank_tolerance * contrast.difference.norm().item<double>();
  const auto available = (singular > least).sum().item<std::int64_t>();
  if (available == 0) return {at::empty({differences.size(1), 0}, differences.options()), 0};
  Tensor shares = (rule.squares ? singular.square() : singular).cumsum(0);
  shares = shares / shares[-1];
  std::int64_t rank = rule.rank.value_or((shares < rule.energy).sum().item<std::int64_t>() + 1);
  rank = std::min(rank, available);
  return {right.narrow(0, 0, rank).t().contiguous(), shares[rank - 1].item<double>()};
}

Field to_field(const Contrasts& contrasts) {
  Field field;
  field.type = kType;
  Json sites = Json::array();
  for (const auto& [name, contrast] : contrasts.sites) {
    sites.push_back(name);
    field.tensors.emplace(name + ":difference", to_blob(contrast.difference));
    field.tensors.emplace(name + ":leading", to_blob(contrast.leading));
  }
  field.document = {{"side", contrasts.side == Side::output ? "output" : "input"}, {"sites", sites}};
  return field;
}

Contrasts contrasts_from(const Field& field) {
  if (field.type != kType)
    throw Error(ErrorKind::input, "expected contrasts of pairs, found a value of type '" + field.type + "'");
  try {
    Contrasts contrasts{field.document.at("side") == "input" ? Side::input : Side::output, {}};
    for (const Json& entry : field.document.at("sites")) {
      const std::string name = entry.get<std::string>();
      contrasts.sites[name] = {to_tensor(field.tensors.at(name + ":difference")),
                               to_tensor(field.tensors.at(name + ":leading"))};
    }
    return contrasts;
  } catch (const std::exception& error) {
    throw Error(ErrorKind::input, std::string("the contrasts of pairs are damaged: ") + error.what());
  }
}

}  // namespace colonnade::nullu
