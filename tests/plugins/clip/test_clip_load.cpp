// What clip/load refuses, and how it says so.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "colonnade/error.h"
#include "model_support.h"
#include "plugins/clip/load.h"
#include "tests/support/safetensors_bytes.h"

namespace colonnade::clip {
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
  Folder() : path_(fs::temp_directory_path() / ("colonnade-clip-load-" + std::to_string(getpid()))) {
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

/// A fixture's weights with the header changed.
std::string changed(const std::string& name, const std::function<void(Json&)>& change) {
  return changed_safetensors(read_file(fixture(name) + "/model.safetensors"), change);
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

LoadRequest request_for(const std::string& weights) {
  LoadRequest request;
  request.weights = weights;
  return request;
}

TEST_CASE("a tensor that is missing, misshapen or foreign is named") {
  const Folder folder;
  const std::string fc1 = "vision_model.encoder.layers.1.mlp.fc1.weight";
  const auto message = [&](const std::function<void(Json&)>& change) {
    LoadRequest request = request_for(folder.write("model.safetensors", changed("square", change)));
    request.config = fixture("square") + "/config.json";
    return message_of(request);
  };
  CHECK_THAT(message([&](Json& header) { header.erase(fc1); }), Contains(folder.path()) && Contains(fc1));
  CHECK_THAT(message([&](Json& header) {
               header[fc1]["shape"] = {24, 36};
             }),
             Contains(fc1) && Contains("[24, 36], expected [36, 24]"));
  CHECK_THAT(message([&](Json& header) { header["extra"] = header[fc1]; }), Contains("'extra' has no place"));
  CHECK_THAT(message([&](Json& header) { header.erase("visual_projection.weight"); }),
             Contains("visual_projection.weight"));
  CHECK_THAT(message([&](Json& header) { header.erase("text_model.embeddings.token_embedding.weight"); }),
             Contains("neither"));
  CHECK_THAT(message([&](Json& header) {
               header["vision_model.embeddings.position_embedding.weight"]["shape"] = {8, 30};
             }),
             Contains("8 positions") && Contains("one more than a square"));
  CHECK(message([](Json& header) {
          header["text_model.embeddings.position_ids"] = {{"dtype", "I64"}, {"shape", {0}}, {"data_offsets", {0, 0}}};
        }) == "no error");
}

/// A fixture's weights with a number of a tensor written over: the one so far into it (1: the last).
std::string with_number(const std::string& name, const std::string& tensor, double where, float number) {
  std::string bytes = read_file(fixture(name) + "/model.safetensors");
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  const Json header = Json::parse(bytes.substr(sizeof(length), length));
  const auto offsets = header.at(tensor).at("data_offsets").get<std::vector<std::uint64_t>>();
  REQUIRE(header.at(tensor).at("dtype") == "F32");
  const auto last = static_cast<double>((offsets[1] - offsets[0]) / sizeof(number) - 1);
  const std::uint64_t at = offsets[0] + sizeof(number) * static_cast<std::uint64_t>(where * last);
  std::memcpy(bytes.data() + sizeof(length) + length + at, &number, sizeof(number));
  return bytes;
}

TEST_CASE("a NaN or an infinity is named with its file and tensor, wherever it stands") {
  const Folder folder;
  for (const char* tensor :
       {"logit_scale", "visual_projection.weight", "vision_model.embeddings.patch_embedding.weight",
        "vision_model.embeddings.class_embedding", "text_model.embeddings.token_embedding.weight",
        "text_model.encoder.layers.0.self_attn.k_proj.bias", "vision_model.encoder.layers.1.mlp.fc1.weight",
        "text_model.final_layer_norm.weight"}) {
    for (const double where : {0.0, 0.7, 1.0}) {
      CAPTURE(tensor, where);
      const auto message = [&](float number) {
        LoadRequest request =
            request_for(folder.write("model.safetensors", with_number("square", tensor, where, number)));
        request.config = fixture("square") + "/config.json";
        return message_of(request);
      };
      const std::string place = folder.path() + "/model.safetensors, tensor '" + tensor + "'";
      CHECK(message(std::nanf("")) == "NaN in " + place);
      CHECK(message(-INFINITY) == "an infinity in " + place);
    }
  }
}

TEST_CASE("config.json and the request must agree with the tensors") {
  const Folder folder;
  folder.write("model.safetensors", read_file(fixture("square") + "/model.safetensors"));
  const Json published = Json::parse(read_file(fixture("square") + "/config.json"));
  const auto message = [&](const std::function<void(Json&)>& change) {
    Json config = published;
    change(config);
    folder.write("config.json", config.dump());
    return message_of(request_for(folder.path()));
  };
  CHECK_THAT(message([](Json& c) { c["text_config"]["hidden_size"] = 25; }),
             Contains("text.width = 24") && Contains("25"));
  CHECK_THAT(message([](Json& c) { c["vision_config"]["patch_size"] = 8; }), Contains("patch = 4"));
  CHECK_THAT(message([](Json& c) { c["text_config"]["num_attention_heads"] = 5; }),
             Contains("no multiple of its 5 heads"));
  CHECK_THAT(message([](Json& c) { c["text_config"]["hidden_act"] = "relu"; }),
             Contains("text_config.hidden_act") && Contains("relu"));
  CHECK_THAT(message([](Json& c) { c["text_config"]["eos_token_id"] = 50; }), Contains("end token 50"));
  CHECK_THAT(message([](Json& c) { c["model_type"] = "siglip"; }), Contains("siglip"));
  constexpr std::size_t kDeep = 1000000;
  std::string nested;
  for (std::size_t i = 0; i < kDeep; ++i) nested += "[";
  folder.write("config.json", "{\"model_type\": " + nested + std::string(kDeep, ']') + "}");
  CHECK_THAT(message_of(request_for(folder.path())), Contains("config.json") && Contains("levels deep"));
  LoadRequest request = request_for(folder.path() + "/model.safetensors");
  CHECK_THAT(message_of(request), Contains("no multiple of 64") && Contains("text_heads"));
  request.text_heads = 4;
  request.vision_heads = 3;
  const Configuration c = configuration_from(load_model(request).configuration());
  CHECK(c.pooling == Pooling::highest_id);
  CHECK(c.text.activation == Activation::quick_gelu);
  request.activation = Activation::gelu;
  request.end_token = 7;
  const Configuration other = configuration_from(load_model(request).configuration());
  CHECK(other.vision.activation == Activation::gelu);
  CHECK(other.pooling == Pooling::end_token);
}

TEST_CASE("a folder without weights says what was looked for") {
  const Folder folder;
  CHECK_THAT(message_of(request_for(folder.path())),
             Contains("none of model.safetensors") && Contains("pytorch_model.bin"));
  folder.write("pytorch_model.bin", "");
  CHECK_THAT(message_of(request_for(folder.path())), Contains("pytorch_model.bin: is neither safetensors nor"));
}

}  // namespace
}  // namespace colonnade::clip
