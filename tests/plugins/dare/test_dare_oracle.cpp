#include <ATen/Functions.h>
#include <catch2/catch.hpp>

#include <fstream>

#include "dare_support.h"

// Against what mergekit and MergeLM make of the same differences under the same masks.
namespace colonnade::dare {

namespace {

Tensor expected(const Json& survivors, const Tensor& keep) {
  Tensor result = at::zeros(keep.sizes(), at::kFloat);
  const Tensor flat = result.view({-1}), mask = keep.reshape({-1});
  std::size_t next = 0;
  for (std::int64_t i = 0; i < flat.numel(); ++i) {
    if (mask[i].item<bool>()) flat[i] = survivors.at(next++).get<float>();
  }
  REQUIRE(next == survivors.size());
  return result;
}

}  // namespace

TEST_CASE("masks are the published random words' and survivors mergekit's and MergeLM's, to fp32 rounding") {
  std::ifstream file(std::string(COLONNADE_TEST_SOURCE_DIR) + "/tests/oracles/dare_rescale.json");
  REQUIRE(file);
  const Json oracle = Json::parse(file);
  const Model plain = mamba();
  REQUIRE(oracle.at("cases").size() == 6);
  for (const Json& each : oracle.at("cases")) {
    const std::string site = each.at("site");
    Model model = plain.mutable_copy();
    Tensor& weight = model.writable(site).sparse;
    const auto whole = each.at("delta").get<std::vector<float>>();
    weight = at::tensor(whole).reshape(weight.sizes()) * oracle.at("scale").get<double>();
    Tensor keep = at::empty({weight.numel()}, at::kBool);
    const std::string bits = each.at("keep");
    for (std::size_t i = 0; i < bits.size(); ++i) keep[static_cast<std::int64_t>(i)] = bits[i] == '1';
    keep = keep.reshape(weight.sizes());
    for (const char* rescale : {"l1", "inverse_keep"}) {
      const Json params = {{"drop_rate", each.at("rate")}, {"rescale", rescale}, {"sites", site}};
      const Model dropped = dared(model, params, oracle.at("seed"));
      INFO(site << " " << each.at("rate") << " " << rescale);
      CHECK(at::equal(dropped.weight(site).mask, keep));
      // Their sums of sizes are in fp32 too, so a factor may be some roundings off.
      const double allowed = std::string(rescale) == "l1" ? 5e-7 : 2e-7;
      CHECK(small::relative_error(dropped.weight(site).sparse, expected(each.at(rescale), keep)) <= allowed);
    }
  }
}

}  // namespace colonnade::dare
