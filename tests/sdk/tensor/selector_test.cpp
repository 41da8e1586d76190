#include "colonnade/tensor/selector.h"

#include <catch2/catch.hpp>

#include "colonnade/error.h"
#include "tests/sdk/tensor/fixtures.h"

namespace colonnade {

namespace {

using small::error_of;

const Model& model() {
  static const Model made = small::make();
  return made;
}

// "name" or "name[part start+size ...]", joined by spaces.
std::string text_of(const std::vector<SelectedSite>& selection) {
  std::string text;
  for (const SelectedSite& site : selection) {
    text += (text.empty() ? "" : " ") + site.name;
    for (const Part& part : site.rows)
      text += "[" + part.name + " " + std::to_string(part.start) + "+" + std::to_string(part.size) + "]";
  }
  return text;
}

std::string chosen(const std::string& selector) {
  return text_of(select_sites(model(), selector));
}

std::string refused(const std::string& selector) {
  try {
    select_sites(model(), selector);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::usage);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("selectors choose sites by pattern, role, kind and layer, in the model's order") {
  CHECK(chosen("*.x_proj") == "layers.0.x_proj layers.1.x_proj");
  CHECK(chosen("layers.1.x_proj,layers.0.x_proj") == "layers.0.x_proj layers.1.x_proj");
  CHECK(chosen("layers.?.norm") == "layers.0.norm layers.1.norm");
  CHECK(chosen("embedding") == "embedding");
  CHECK(chosen("role:head") == "embedding");
  CHECK(chosen("role:embedding") == "embedding");
  CHECK(chosen("role:decay") == "layers.0.decay layers.1.decay");
  CHECK(chosen("kind:conv1d") == "layers.0.conv1d layers.1.conv1d");
  CHECK(chosen("kind:embedding") == "embedding");
  CHECK(chosen("kind:linear&layer:1") == "layers.1.in_proj layers.1.x_proj layers.1.out_proj");
  CHECK(chosen("layer:0&*.bias") == "layers.0.in_proj.bias layers.0.conv1d.bias layers.0.out_proj.bias");
  CHECK(select_sites(model(), "all").size() == model().sites().size());
  CHECK(select_sites(model(), "*").size() == model().sites().size());
  CHECK(select_sites(model(), "layer:0..1").size() == model().sites().size() - 2);
  CHECK(select_sites(model(), "layer:0..99").size() == model().sites().size() - 2);
  CHECK(selected_names(select_sites(model(), " role:x_proj , embedding ")) ==
        std::vector<std::string>{"embedding", "layers.0.x_proj", "layers.1.x_proj"});
}

TEST_CASE("patterns match as a whole, with stars anywhere") {
  CHECK(chosen("l*0*p*j") == "layers.0.in_proj layers.0.x_proj layers.0.out_proj");
  CHECK(chosen("*0.x_proj*") == "layers.0.x_proj");
  CHECK(chosen("**.1.**norm**") == "layers.1.norm");
  CHECK_FALSE(refused("x_proj").empty());
  CHECK_FALSE(refused("layers.0.x_pro").empty());
  CHECK_FALSE(refused("?layers.0.x_proj").empty());
  // Backtracking over every star would take longer than the universe has.
  CHECK_FALSE(refused("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b").empty());
}

TEST_CASE("selectors take away, and choose parts") {
  CHECK(chosen("*.x_proj,!layers.0.*") == "layers.1.x_proj");
  CHECK(chosen("*.x_proj#B") == "layers.0.x_proj[B 2+3] layers.1.x_proj[B 2+3]");
  CHECK(chosen("layers.0.x_proj#C,layers.0.x_proj#B") == "layers.0.x_proj[B 2+3][C 5+3]");
  CHECK(chosen("layers.0.x_proj#B,layers.0.x_proj#B") == "layers.0.x_proj[B 2+3]");
  CHECK(chosen("layers.0.x_proj,!*.x_proj#dt") == "layers.0.x_proj[B 2+3][C 5+3]");
  CHECK(chosen("layers.0.x_proj#B,layers.0.x_proj") == "layers.0.x_proj");
  CHECK(chosen("layers.0.x_proj,layers.0.x_proj#B") == "layers.0.x_proj");
  CHECK(chosen("layers.0.x_proj#B,!layers.0.x_proj#B,embedding") == "embedding");
  CHECK(chosen("role:x_proj&layer:1#B,embedding") == "embedding layers.1.x_proj[B 2+3]");
  CHECK(chosen("layers.0.x_proj#B,layers.0.in_proj#z") == "layers.0.in_proj[z 8+8] layers.0.x_proj[B 2+3]");
}

TEST_CASE("taking a part from a whole site leaves the rows that no part names") {
  class Gaps final : public Architecture {
   public:
    std::string type() const override { return "laws/gaps"; }
    std::vector<SiteSpec> sites(const Json&) const override {
      SiteSpec spec;
      spec.name = spec.tensor_name = "w";
      spec.shape = {10, 2};
      spec.parts = {{"late", 6, 2}, {"early", 1, 3}};
      return {spec};
    }
    std::vector<Symmetry> symmetries(const Json&) const override { return {}; }
    Tensor forward(SiteRunner&, const Json&, const Batch&) const override { return {}; }
    std::vector<FixedCost> fixed_costs(const Json&, std::int64_t) const override { return {}; }
  };
  const Model gaps(std::make_shared<const Gaps>(), Json::object());
  CHECK(text_of(select_sites(gaps, "w,!w#early")) == "w[rest 0+1][rest 4+2][late 6+2][rest 8+2]");
}

TEST_CASE("mistakes in selectors are told with the nearest name") {
  CHECK(refused("layers.0.x_porj") ==
        "site selector 'layers.0.x_porj': 'layers.0.x_porj' matches no site; did you mean 'layers.0.x_proj'?; "
        "parts there are: #B, #C, #dt, #x, #z");
  CHECK(refused("*.xproj") ==
        "site selector '*.xproj': '*.xproj' matches no site; did you mean '*.x_proj'?; parts there are: #B, #C, #dt, "
        "#x, #z");
  CHECK(refused("*.x_proj#D")
            .starts_with("site selector '*.x_proj#D': '*.x_proj#D' matches no site; did you mean '*.x_proj#"));
  CHECK(refused("embedding,nothing*") ==
        "site selector 'embedding,nothing*': 'nothing*' matches no site; parts there are: #B, #C, #dt, #x, #z");
  CHECK(refused("role:x_porj") == "site selector 'role:x_porj': no site has the role 'x_porj'; did you mean 'x_proj'?");
  CHECK(refused("kind:lienar") ==
        "site selector 'kind:lienar': unknown kind 'lienar'; there are linear, conv1d, embedding, vector; did you mean "
        "'linear'?");
  CHECK(refused("layer:one") == "site selector 'layer:one': 'one' is no layer number; write layer:3 or layer:8..15");
  CHECK(refused("layer:1..") == "site selector 'layer:1..': '' is no layer number; write layer:3 or layer:8..15");
  CHECK(refused("layer:99999999999") ==
        "site selector 'layer:99999999999': '99999999999' is no layer number; write layer:3 or layer:8..15");
  CHECK(refused("layer:3..1") == "site selector 'layer:3..1': layers 3..1 run backwards");
  CHECK(refused("layer:7").starts_with("site selector 'layer:7': 'layer:7' matches no site"));
  for (const char* empty : {"", " ", "embedding,", ",embedding", "!", "#B", "kind:linear&", "&", "!#B"}) {
    CHECK(refused(empty) == "site selector '" + std::string(empty) + "': an empty term");
  }
  CHECK(refused("embedding,!all") == "site selector 'embedding,!all': nothing is left of the selection");
  CHECK(refused("!embedding") == "site selector '!embedding': nothing is left of the selection");
}

TEST_CASE("an op's own default passes over what a model does not have, but not over mistakes") {
  const auto present = [](const std::string& selector) { return text_of(select_present_sites(model(), selector)); };
  CHECK(present("*.x_proj#B,*.attention,role:query,layer:7") == "layers.0.x_proj[B 2+3] layers.1.x_proj[B 2+3]");
  CHECK(error_of([&] { present("*.attention,role:query"); }) ==
        "site selector '*.attention,role:query': this model has none of these");
  CHECK_FALSE(error_of([&] { present("kind:lienar,all"); }).empty());
  CHECK_FALSE(error_of([&] { present("all,"); }).empty());
}

}  // namespace colonnade
