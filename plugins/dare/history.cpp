#include "history.h"

#include <charconv>
#include <optional>
#include <utility>

#include "colonnade/tensor/drawn_masks.h"

namespace colonnade::dare {

namespace {

constexpr const char* kType = "dare/history@1";
constexpr const char* kPrefix = "dare/history";

// The key of the random numbers in a rule that drops single elements by them.
std::optional<std::uint64_t> element_key(const std::string& rule) {
  if (!rule.starts_with(kElementRule)) return std::nullopt;
  std::uint64_t key = 0;
  const char* end = rule.data() + rule.size();
  const auto [stop, error] = std::from_chars(rule.data() + std::char_traits<char>::length(kElementRule), end, key);
  return error == std::errc{} && stop == end ? std::optional(key) : std::nullopt;
}

class History final : public Hook, public DrawnMasks {
 public:
  explicit History(Past past) : past_(std::move(past)) {}

  std::string type() const override { return kType; }
  NamedTensors& tensors() override { return none_; }
  std::unique_ptr<Hook> clone() const override { return std::make_unique<History>(past_); }
  const Past& past() const { return past_; }

  std::vector<DrawnMask> drawn_masks(const std::string& site) const override {
    std::vector<DrawnMask> drawn;
    const auto rules = past_.find(site);
    if (rules == past_.end()) return drawn;
    for (const auto& [rule, earlier] : rules->second) {
      if (const auto key = element_key(rule)) drawn.push_back({RandomStream(*key).at(site), earlier.threshold});
    }
    return drawn;
  }

  Json configuration() const override {
    Json sites = Json::object();
    for (const auto& [site, rules] : past_) {
      for (const auto& [rule, earlier] : rules) {
        sites[site][rule] = {{"rate", earlier.rate}, {"scale", earlier.scale}, {"threshold", earlier.threshold}};
      }
    }
    return {{"sites", sites}};
  }

 private:
  Past past_;
  NamedTensors none_;
};

std::unique_ptr<Hook> load(const Json& configuration, const NamedTensors&) {
  Past past;
  for (const auto& [site, rules] : configuration.at("sites").items()) {
    for (const auto& [rule, earlier] : rules.items()) {
      past[site][rule] = {earlier.at("rate").get<double>(), earlier.at("scale").get<double>(),
                          earlier.at("threshold").get<std::uint64_t>()};
    }
  }
  return std::make_unique<History>(std::move(past));
}

}  // namespace

HookType history_type() {
  return {kType, load};
}

Past past_of(const Model& model) {
  for (const auto& hook : model.hooks()) {
    if (hook->type() == kType) return static_cast<const History&>(*hook).past();
  }
  return {};
}

void set_past(Model& model, const Past& past) {
  model.remove_hooks(kPrefix);
  model.add_hook(std::make_shared<History>(past));
}

}  // namespace colonnade::dare
