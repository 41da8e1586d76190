#include "history.h"

#include <utility>

namespace colonnade::dare {

namespace {

constexpr const char* kType = "dare/history@1";
constexpr const char* kPrefix = "dare/history";

class History final : public Hook {
 public:
  explicit History(Past past) : past_(std::move(past)) {}

  std::string type() const override { return kType; }
  NamedTensors& tensors() override { return none_; }
  std::unique_ptr<Hook> clone() const override { return std::make_unique<History>(past_); }
  const Past& past() const { return past_; }

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
