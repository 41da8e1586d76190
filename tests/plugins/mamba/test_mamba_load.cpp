// What mamba/load refuses, and how it says so.
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "colonnade/error.h"
#include "colonnade/tensor/safetensors.h"
#include "model_support.h"
#include "plugins/mamba/load.h"
#include "tests/support/safetensors_bytes.h"

namespace colonnade::mamba {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;

std::string read_file(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// A folder of its own for a test, removed at the end.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("colonnade-load-" + std::to_string(getpid()))) {
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return (path_ / name).string();
  }
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

/// The "published" fixture with its header changed.
std::string changed(const std::function<void(Json&)>& change, const std::string& more = "") {
  return changed_safetensors(read_file(fixture("published") + "/model.safetensors"), change, more);
}

LoadRequest request_for(const std::string& weights) {
  LoadRequest request;
  request.weights = weights;
  return request;
}

std::string message_of(const LoadRequest& request) {
  try {
    load_model(request);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::input);
    return error.what();
  }
  return "no error";
}

TEST_CASE("a truncated file is named at whatever byte it ends") {
  const Folder folder;
  const std::string whole = read_file(fixture("published") + "/model.safetensors");
  for (size_t length = 0; length < whole.size(); length += length < 64 ? 1 : 997) {
    const std::string path = folder.write("model.safetensors", whole.substr(0, length));
    CAPTURE(length);
    CHECK_THAT(message_of(request_for(path)), Contains(path));
  }
}

TEST_CASE("hostile headers are refused, not believed") {
  const Folder folder;
  const auto message = [&](const std::string& bytes) {
    return message_of(request_for(folder.write("model.safetensors", bytes)));
  };
  CHECK_THAT(message(std::string(8, '\xff') + "{}"), Contains("header of 18446744073709551615 bytes"));
  CHECK_THAT(message(safetensors_bytes("[]")), Contains("not a JSON object"));
  CHECK_THAT(message(safetensors_bytes("{\"a\"")), Contains("not a JSON object"));
  CHECK_THAT(message(safetensors_bytes(std::string(100000, '['))), Contains("not a JSON object"));
  CHECK_THAT(message(safetensors_bytes(R"({"a":{"dtype":"F32","shape":[2]}})")), Contains("tensor 'a' lacks"));
  CHECK_THAT(message(safetensors_bytes(R"({"a":{"dtype":"F8","shape":[2],"data_offsets":[0,8]}})", "12345678")),
             Contains("'a'") && Contains("F8"));
  CHECK_THAT(message(safetensors_bytes(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", "12345678")),
             Contains("'a'") && Contains("-2"));
  CHECK_THAT(message(safetensors_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9]}})", "12345678")),
             Contains("'a'") && Contains("truncated or damaged"));
  CHECK_THAT(message(safetensors_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", "12345678")),
             Contains("'a'") && Contains("damaged"));
  CHECK_THAT(message(safetensors_bytes(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", "12345678")),
             Contains("'a'") && Contains("takes 12"));
  CHECK_THAT(
      message(safetensors_bytes(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})")),
      Contains("'a'") && Contains("impossible shape"));
  CHECK_THAT(message(safetensors_bytes(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
                                     "a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                                       "12345678")),
             Contains("names \"a\" twice"));
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  CHECK_THAT(message(safetensors_bytes("{\"a\":{\"dtype\":" + deep + ",\"shape\":[],\"data_offsets\":[0,0]}}")),
             Contains("nested too deeply"));
  CHECK_THAT(message(safetensors_bytes("{}")), Contains("backbone.embeddings.weight"));
}

TEST_CASE("a tensor that is missing, misshapen, foreign or not finite is named") {
  const Folder folder;
  const std::string out_proj = "backbone.layers.1.mixer.out_proj.weight";
  const auto message = [&](const std::function<void(Json&)>& change) {
    return message_of(request_for(folder.write("model.safetensors", changed(change))));
  };
  CHECK_THAT(message([&](Json& header) { header.erase(out_proj); }), Contains(folder.path()) && Contains(out_proj));
  CHECK_THAT(message([&](Json& header) {
               header[out_proj]["shape"] = {48, 24};
             }),
             Contains(out_proj) && Contains("[48, 24], expected [24, 48]"));
  CHECK_THAT(message([&](Json& header) { header["backbone.layers.1.mixer.gate"] = header[out_proj]; }),
             Contains("'backbone.layers.1.mixer.gate' has no place"));
  CHECK_THAT(
      message([&](Json& header) { header["backbone.layers.5.norm.weight"] = header["backbone.layers.1.norm.weight"]; }),
      Contains("3 layers") && Contains("number 2"));
  CHECK_THAT(message([&](Json& header) { header["backbone.norm_f.weight"]["dtype"] = "I32"; }),
             Contains("backbone.norm_f.weight") && Contains("floating type"));
  CHECK_THAT(message([&](Json& header) {
               header["lm_head.weight"] = header["backbone.embeddings.weight"];
               auto& offsets = header["lm_head.weight"]["data_offsets"];
               const auto shift = offsets[0].get<std::int64_t>() == 0 ? 4 : -4;
               for (Json& offset : offsets) offset = offset.get<std::int64_t>() + shift;
             }),
             Contains("lm_head.weight") && Contains("tied"));

  const std::string twice = changed_safetensors(
      read_file(fixture("published") + "/model.safetensors"),
      [](Json& header) {
        header["backbone.layers.0.mixer.D"]["data_offsets"] = header["backbone.layers.1.mixer.D"]["data_offsets"];
      },
      "", true);
  CHECK_THAT(message_of(request_for(folder.write("model.safetensors", twice))),
             Contains("'backbone.layers.0.mixer.D' and 'backbone.layers.1.mixer.D' lie on the same bytes"));

  std::string bytes = read_file(fixture("published") + "/model.safetensors");
  const float not_a_number = std::nanf("");
  std::memcpy(bytes.data() + bytes.size() - sizeof(float), &not_a_number, sizeof(float));
  CHECK_THAT(message_of(request_for(folder.write("model.safetensors", bytes))),
             Contains("NaN") && Contains("tensor '"));
}

TEST_CASE("config.json and parameters must agree with the tensors") {
  const Folder folder;
  folder.write("model.safetensors", read_file(fixture("published") + "/model.safetensors"));
  const auto message = [&](const Json& config) {
    const std::string path = folder.write("config.json", config.dump());
    const std::string text = message_of(request_for(folder.path()));
    CHECK_THAT(text, Contains(path));
    return text;
  };
  CHECK_THAT(message({{"state_size", 16}}), Contains("d_state = 4") && Contains("'state_size'") && Contains("16"));
  CHECK_THAT(message({{"use_conv_bias", false}}), Contains("conv_bias = true"));
  CHECK_THAT(message({{"hidden_size", "24"}}), Contains("'hidden_size' is \"24\""));
  CHECK_THAT(message({{"tie_word_embeddings", false}}), Contains("only true"));
  CHECK_THAT(message({{"model_type", "mamba2"}}), Contains("mamba2"));
  CHECK_THAT(message({{"d_model", 24}, {"n_layer", 3}}), Contains("layers = 2") && Contains("'n_layer'"));
  CHECK_THAT(message({{"d_model", 24}, {"n_layer", 2}, {"ssm_cfg", {{"layer", "Mamba2"}}}}), Contains("Mamba2"));
  // What was converted for the hub keeps the authors' entries beside its own.
  CHECK_THAT(message({{"d_model", 24}, {"n_layer", 2}, {"hidden_size", 24}, {"state_size", 16}}),
             Contains("'state_size'"));
  CHECK_THAT(message(Json::array()), Contains("not a JSON object"));
  const Json huge = {{"d_model", 24}, {"n_layer", 2}, {"vocab_size", INT64_MAX}, {"pad_vocab_size_multiple", 8}};
  CHECK_THAT(message(huge), Contains("says 9223372036854775807"));
  folder.write("config.json", "{\"hidden_size\":" + std::string(100000, '[') + std::string(100000, ']') + "}");
  CHECK_THAT(message_of(request_for(folder.path())), Contains("config.json: is nested more than 64 levels deep"));

  LoadRequest request = request_for(fixture("published"));
  request.expected = {{"layers", 3}};
  CHECK_THAT(message_of(request), Contains("layers = 2") && Contains("the parameter 'layers'"));
  request.expected = {{"layers", 2}, {"d_model", 24}, {"norm_epsilon", 0.25}};
  CHECK(configuration_from(load_model(request).configuration()).norm_epsilon == 0.25);
}

TEST_CASE("what a config.json leaves open is taken as its authors take it") {
  const Folder folder;
  folder.write("model.safetensors", read_file(fixture("published") + "/model.safetensors"));
  const auto epsilon = [&](const Json& config) {
    folder.write("config.json", config.dump());
    return configuration_from(load_model(request_for(folder.path())).configuration()).norm_epsilon;
  };
  const Json original = {{"d_model", 24}, {"n_layer", 2}, {"ssm_cfg", nullptr}, {"vocab_size", 61}};
  CHECK(epsilon(original) == 1e-5);
  CHECK(epsilon({{"hidden_size", 24}, {"time_step_rank", "auto"}, {"layer_norm_epsilon", 1e-4}}) == 1e-4);
  Json both = original;
  both.update({{"hidden_size", 24}, {"vocab_size", nullptr}, {"layer_norm_epsilon", 1e-3}});
  CHECK(epsilon(both) == 1e-3);
}

TEST_CASE("the epsilon of config.json holds, and half precision is widened") {
  LoadRequest request = request_for(fixture("biased"));
  CHECK(configuration_from(load_model(request).configuration()).norm_epsilon == 1e-4);
  request.weights += "/model.safetensors";
  CHECK(configuration_from(load_model(request).configuration()).norm_epsilon == 1e-5);
  request.config = fixture("biased") + "/config.json";
  CHECK(configuration_from(load_model(request).configuration()).norm_epsilon == 1e-4);

  // The final norm is read again as bfloat16: the upper halves of its numbers.
  const Folder folder;
  const std::string original = fixture("published") + "/model.safetensors";
  const SafetensorsFile file = open_safetensors(original);
  const Tensor norm = read_tensor(file, "backbone.norm_f.weight").to(at::kBFloat16);
  const auto size = static_cast<std::int64_t>(norm.nbytes());
  const std::string bytes = changed(
      [&](Json& header) {
        std::int64_t last = 0;
        for (const auto& [name, entry] : header.items()) {
          if (name != "__metadata__") last = std::max(last, entry["data_offsets"][1].get<std::int64_t>());
        }
        header["backbone.norm_f.weight"] = {{"dtype", "BF16"}, {"shape", {24}}, {"data_offsets", {last, last + size}}};
      },
      std::string(static_cast<const char*>(norm.const_data_ptr()), norm.nbytes()));
  const Model model = load_model(request_for(folder.write("model.safetensors", bytes)));
  CHECK(model.dtype() == at::kFloat);
  CHECK(at::equal(model.weight(kFinalNormSite).sparse, norm.to(at::kFloat)));
}

TEST_CASE("a folder without weights says what was looked for") {
  const Folder folder;
  CHECK_THAT(message_of(request_for(folder.path())),
             Contains("none of model.safetensors") && Contains("pytorch_model.bin"));
  folder.write("pytorch_model.bin", "");
  CHECK_THAT(message_of(request_for(folder.path())), Contains("pytorch_model.bin: is neither safetensors nor"));
  CHECK_THAT(message_of(request_for(folder.path() + "/nothing")), Contains("nothing: cannot be opened"));
}

}  // namespace
}  // namespace colonnade::mamba
