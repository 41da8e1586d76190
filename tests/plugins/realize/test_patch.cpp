#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <functional>

#include "plugins/realize/patch_file.h"
#include "realize_support.h"
#include "tests/plugins/alphaedit/stages.h"

namespace colonnade::realize {

namespace {

using Catch::Matchers::Contains;

std::string patch_of(const Model& model, Json params = Json::object(), double* counted = nullptr) {
  register_linked_plugin(colonnade_plugin);
  const Value value = small::run("realize/patch", std::move(params), {{"model", model.to_field()}});
  if (counted != nullptr) *counted = number(value, "bytes");
  const Blob& blob = value.at("files").tensors.at("model.patch");
  return std::string(reinterpret_cast<const char*>(blob.data()), blob.size());
}

// A file that is gone with its test.
class Saved {
 public:
  explicit Saved(const std::string& bytes)
      : path_(std::filesystem::temp_directory_path() / ("colonnade-patch-" + std::to_string(getpid()))) {
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  ~Saved() { std::filesystem::remove(path_); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

Model patched(const Model& base, const std::string& bytes) {
  const Saved file(bytes);
  register_linked_plugin(colonnade_plugin);
  const Value value = small::run("realize/apply_patch", {{"path", file.path()}}, {{"base", base.to_field()}});
  return Model::from_field(value.at("model"));
}

std::string refusal(const Model& base, const std::string& bytes) {
  return small::error_of([&] { patched(base, bytes); });
}

}  // namespace

TEST_CASE("a patch on its base is the model bit for bit, and the rounded one in other types") {
  const Model base = mamba(), start = relative(tuned(base), base);
  const Model thin = run_on("dare/dare", start, {{"drop_rate", 0.95}});
  const Model low = run_on("nullu/truncate", start, {{"on", "effective"}, {"rank", 3}, {"sites", "kind:linear"}});
  for (const Model& model : {start, thin, low, relative(base, base)}) {
    for (const char* values : {"fp32", "fp16", "bf16", "int8", "sign"}) {
      for (const char* positions : {"entropy", "seed"}) {
        const Json params = {{"values", values}, {"positions", positions}};
        double counted = 0;
        const std::string bytes = patch_of(model, params, &counted);
        const Model back = patched(base, bytes);
        CHECK(same_weights(back, rounded(model, values)));
        if (std::string(values) == "fp32") CHECK(same_weights(back, model));
        CHECK(counted == static_cast<double>(bytes.size()));
        CHECK(number(stored(model, params), "difference") == counted);
        CHECK(patch_of(back, {{"values", values}}).size() == patch_of(model, {{"values", values}}).size());
      }
    }
  }
}

TEST_CASE("sites without a reference go whole, and a double model in the base's type") {
  const Model base = mamba(48, 0, "f64"), other = tuned(base);
  load_plugin("reference");
  const Inputs inputs = {{"model", other.to_field()}, {"base", base.to_field()}};
  const Model part =
      Model::from_field(small::run("reference/relative_to", {{"sites", "*.out_proj"}}, inputs).at("model"));
  const Model back = patched(base, patch_of(part));
  CHECK(same_weights(back, rounded(part, "fp32")));
  CHECK(back.dtype() == at::kDouble);
  CHECK(back.weight("backbone.layers.0.mixer.out_proj").has_reference());
  CHECK(!back.weight("backbone.layers.0.mixer.in_proj").has_reference());
}

TEST_CASE("every order of dare, truncate, project, compensate and mask comes back from its patch") {
  namespace stages = alphaedit::stages;
  stages::load_all();
  load_plugin("alphaedit");
  const Json params = {{"d_model", 16}, {"layers", 1}, {"d_state", 4}, {"vocabulary", small::vocabulary}};
  const Model base = Model::from_field(small::run("mamba/mamba", params, {}).at("model"));
  const Model start = relative(tuned(base, 0.02), base);
  const stages::Around around(start);
  int orders = 0;
  const std::function<void(const Model&, const std::vector<std::string>&, const std::string&)> go_on =
      [&](const Model& model, const std::vector<std::string>& left, const std::string& path) {
        if (left.empty()) {
          INFO(path);
          CHECK(same_weights(patched(base, patch_of(model)), model));
          CHECK(same_weights(patched(base, patch_of(model, {{"values", "bf16"}, {"positions", "seed"}})),
                             rounded(model, "bf16")));
          ++orders;
        }
        for (const std::string& stage : left) {
          std::vector<std::string> rest = left;
          rest.erase(std::find(rest.begin(), rest.end(), stage));
          go_on(Model::from_field(stages::run_stage(stage, model, around).at("model")), rest, path + " > " + stage);
        }
      };
  go_on(start, {"dare", "truncate effective", "project", "compensate", "mask"}, "start");
  CHECK(orders == 120);
}

TEST_CASE("a wrong base, a damaged file and a hostile one are refused by name") {
  const Model base = mamba(), start = relative(tuned(base), base);
  const std::string bytes = patch_of(run_on("dare/dare", start, {{"drop_rate", 0.95}}));
  CHECK_THAT(refusal(mamba(48, 1), bytes), Contains("made on another base") && Contains("colonnade-patch"));
  CHECK_THAT(refusal(mamba(64), bytes), Contains("another structure") && Contains("\"d_model\":64"));
  CHECK_THAT(refusal(base, "PK\x03\x04 and so on, long enough to hold a header of eighty-two bytes and some more ...."),
             Contains("not a patch"));
  CHECK_THAT(refusal(base, bytes + "x"), Contains("1 bytes follow"));
  std::string newer = bytes;
  newer[8] = 7;
  CHECK_THAT(refusal(base, newer), Contains("patch format 7"));
  // Every length, and a changed byte everywhere: no file but the right one passes.
  register_linked_plugin(colonnade_plugin);
  for (std::size_t length = 0; length < bytes.size(); length += 1 + bytes.size() / 97) {
    const std::string error =
        small::error_of([&] { read_patch(base, std::string_view(bytes).substr(0, length), "a.patch"); });
    CHECK_THAT(error, Contains("a.patch"));
    if (length >= patch_header_bytes) CHECK_THAT(error, Contains("a.patch, tensor 'backbone."));
  }
  for (std::size_t at = 0; at < bytes.size(); at += 1 + bytes.size() / 97) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ (1 << (at % 8)));
    CHECK_THAT(small::error_of([&] { read_patch(base, changed, "a.patch"); }), Contains("a.patch"));
  }
  CHECK_THAT(small::error_of([&] { patch_of(base); }), Contains("relative_to"));
  Model broken = start.mutable_copy();
  broken.writable("backbone.norm_f").sparse[3] = std::numeric_limits<float>::infinity();
  CHECK_THAT(small::error_of([&] { patch_of(broken); }), Contains("backbone.norm_f"));
}

}  // namespace colonnade::realize
