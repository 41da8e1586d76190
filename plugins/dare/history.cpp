#include "history.h"

#include <ATen/Functions.h>

#include <charconv>
#include <optional>
#include <utility>

#include "colonnade/tensor/drawn_masks.h"

namespace colonnade::dare {

namespace {

constexpr const char* kType = "dare/history@2";
constexpr const char* kPrefix = "dare/history";

// The key of the random numbers in a rule that drops single elements by them.
std::optional<std::uint64_t> element_key(const std::string& rule) {
  if (!rule.starts_with(kElementRule)) return std::nullopt;
  std::uint64_t key = 0;
  const char* end = rule.data() + rule.size();
  const auto [stop, error] = std::from_chars(rule.data() + std::char_traits<char>::length(kElementRule), end, key);
  return error == std::errc{} && stop == end ? std::optional(key) : std::nullopt;
}

constexpr const char* kRows = ":rows";
constexpr const char* kColumns = ":columns";

class History final : public Hook, public DrawnMasks {
 public:
  History(Rules rules, NamedTensors orders) : rules_(std::move(rules)), orders_(std::move(orders)) {}

  std::string type() const override { return kType; }
  NamedTensors& tensors() override { return orders_; }
  std::unique_ptr<Hook> clone() const override { return std::make_unique<History>(rules_, orders_); }

  Past past() const {
    Past past{rules_, {}};
    for (const auto& [name, order] : orders_) {
      const bool rows = name.ends_with(kRows);
      SiteOrder& site = past.orders[name.substr(0, name.rfind(':'))];
      (rows ? site.rows : site.columns) = order;
    }
    return past;
  }

  void moved(const std::string& site, int axis, const Tensor& index) override {
    const std::string name = site + (axis == 0 ? kRows : kColumns);
    const auto known = orders_.find(name);
    Tensor order = known == orders_.end() ? index.clone() : known->second.index_select(0, index);
    if (at::equal(order, at::arange(order.numel(), at::kLong))) {
      orders_.erase(name);
    } else {
      orders_[name] = std::move(order);
    }
  }

  // Of a site that was moved two numbers no longer say all.
  std::vector<DrawnMask> drawn_masks(const std::string& site) const override {
    std::vector<DrawnMask> drawn;
    const auto rules = rules_.find(site);
    if (rules == rules_.end() || orders_.contains(site + kRows) || orders_.contains(site + kColumns)) return drawn;
    for (const auto& [rule, earlier] : rules->second) {
      if (const auto key = element_key(rule)) drawn.push_back({RandomStream(*key).at(site), earlier.threshold});
    }
    return drawn;
  }

  Json configuration() const override {
    Json sites = Json::object();
    for (const auto& [site, rules] : rules_) {
      for (const auto& [rule, earlier] : rules) {
        sites[site][rule] = {{"rate", earlier.rate}, {"scale", earlier.scale}, {"threshold", earlier.threshold}};
      }
    }
    return {{"sites", sites}};
  }

 private:
  Rules rules_;
  NamedTensors orders_;
};

// Format 1 had no orders.
std::unique_ptr<Hook> load(const Json& configuration, const NamedTensors& orders) {
  Rules rules;
  for (const auto& [site, document] : configuration.at("sites").items()) {
    for (const auto& [rule, earlier] : document.items()) {
      rules[site][rule] = {earlier.at("rate").get<double>(), earlier.at("scale").get<double>(),
                           earlier.at("threshold").get<std::uint64_t>()};
    }
  }
  return std::make_unique<History>(std::move(rules), orders);
}

}  // namespace

HookType history_type() {
  return {kType, load};
}

SiteOrder Past::order(const std::string& site) const {
  const auto found = orders.find(site);
  return found == orders.end() ? SiteOrder{} : found->second;
}

Past past_of(const Model& model) {
  for (const auto& hook : model.hooks()) {
    if (hook->type() == kType) return static_cast<const History&>(*hook).past();
  }
  return {};
}

void set_past(Model& model, const Past& past) {
  NamedTensors orders;
  for (const auto& [site, order] : past.orders) {
    if (order.rows.defined()) orders[site + kRows] = order.rows;
    if (order.columns.defined()) orders[site + kColumns] = order.columns;
  }
  model.remove_hooks(kPrefix);
  model.add_hook(std::make_shared<History>(past.rules, std::move(orders)));
}

}  // namespace colonnade::dare
