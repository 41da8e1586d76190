// What models in fp32 and in half precision are accurate to, every tensor random: whole against in pieces, a token at a
// time and padded, and half-precision weights as published.
#include <ATen/Parallel.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "colonnade/error.h"
#include "colonnade/tensor/published.h"
#include "colonnade/tensor/recurrent.h"
#include "plugins/mamba/load.h"
#include "tests/plugins/mamba/model_support.h"
#include "tests/support/plugins.h"
#include "tests/support/safetensors_bytes.h"

extern "C" {
extern const colonnade::PluginDescriptor colonnade_plugin;
}

namespace colonnade::mamba {
namespace {

constexpr double kPieces = 1e-5, kPadding = 1e-6;
/// What rounding the weights to f16 may do to the logits of these small random models; bf16 rounds eight times as
/// coarsely.
constexpr double kRounded = 1e-2, kCoarser = 8;

Configuration configuration_of(DType dtype) {
  Configuration c;
  c.d_model = 48;
  c.layers = 3;
  c.dt_rank = 3;
  c.vocabulary = 101;
  c.dtype = dtype;
  return c;
}

Batch ids_of(const Tensor& ids) {
  return {{{"ids", ids}}};
}

Tensor in_pieces(const Model& model, const Tensor& ids, std::int64_t length) {
  NamedTensors state = initial_state(model, ids.size(0));
  std::vector<Tensor> logits;
  for (std::int64_t at = 0; at < ids.size(1); at += length) {
    logits.push_back(forward_from(model, ids_of(ids.narrow(1, at, std::min(length, ids.size(1) - at))), state));
  }
  return at::cat(logits, 1);
}

/// Of a token at a time: several threads would wait for each other on a busy machine.
void use_one_thread() {
  at::set_num_threads(1);
}

/// The model's weights as a published file of one type.
std::string published_bytes(const Model& model, const char* type, at::ScalarType as) {
  Json header = Json::object();
  std::string data;
  for (const SiteSpec& site : model.sites()) {
    const Tensor weight = model.weight(site.name).sparse.to(as).contiguous();
    header[site.tensor_name] = {
        {"dtype", type}, {"shape", site.shape}, {"data_offsets", {data.size(), data.size() + weight.nbytes()}}};
    data.append(static_cast<const char*>(weight.const_data_ptr()), weight.nbytes());
  }
  return safetensors_bytes(header.dump(), data);
}

class Published {
 public:
  explicit Published(const std::string& bytes)
      : path_((std::filesystem::temp_directory_path() / ("colonnade-half-" + std::to_string(getpid()) + ".safetensors"))
                  .string()) {
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  ~Published() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }
  Model load(std::optional<DType> dtype) const {
    LoadRequest request;
    request.weights = path_;
    request.dtype = dtype;
    return load_model(request);
  }

 private:
  std::string path_;
};

TEST_CASE("in fp32 a sequence in pieces, or a token at a time, has the logits of the whole") {
  use_one_thread();
  const Configuration c = configuration_of(DType::f32);
  const Model model = random_model(c, 3);
  const Tensor ids = random_batch(c, 2, 150, 4).at("ids");
  const Tensor whole = model.forward(ids_of(ids));
  CHECK(relative_error(in_pieces(model, ids, 70), whole) < kPieces);
  CHECK(relative_error(in_pieces(model, ids, 1), whole) < kPieces);
  // All of it is as far from float64 as fp32 is.
  Configuration wide = c;
  wide.dtype = DType::f64;
  CHECK(relative_error(whole, random_model(wide, 3).forward(ids_of(ids))) < kPieces);
}

TEST_CASE("in fp32 a padded batch has the logits of its sequences alone") {
  use_one_thread();
  const Configuration c = configuration_of(DType::f32);
  const Model model = random_model(c, 5);
  constexpr std::int64_t kLength = 90;
  const Tensor ids = random_batch(c, 3, kLength, 6).at("ids");
  Batch padded = ids_of(ids);
  padded.tensors["mask"] = at::ones({3, kLength}, at::kBool);
  const std::int64_t lengths[] = {kLength, 41, 2};
  for (std::int64_t row = 0; row < 3; ++row)
    padded.tensors["mask"][row].narrow(0, 0, kLength - lengths[row]).fill_(false);
  const Tensor together = model.forward(padded);
  for (std::int64_t row = 0; row < 3; ++row) {
    const std::int64_t first = kLength - lengths[row];
    const Tensor alone = model.forward(ids_of(ids.narrow(0, row, 1).narrow(1, first, lengths[row])));
    CAPTURE(row);
    CHECK(relative_error(together[row].narrow(0, first, lengths[row]), alone[0]) < kPadding);
  }
}

TEST_CASE("weights published in half precision are kept or widened as asked, and are near those of fp32") {
  use_one_thread();
  const Configuration c = configuration_of(DType::f32);
  const Model exact = random_model(c, 7);
  const Batch batch = ids_of(random_batch(c, 2, 60, 8).at("ids"));
  const Tensor logits = exact.forward(batch);
  for (const auto& [type, name, dtype] :
       {std::tuple{at::kBFloat16, "BF16", DType::bf16}, {at::kHalf, "F16", DType::f16}}) {
    CAPTURE(name);
    const Published file(published_bytes(exact, name, type));
    const Model kept = file.load(std::nullopt), widened = file.load(DType::f32);
    CHECK(kept.weight_dtype() == type);
    CHECK(kept.dtype() == at::kFloat);
    CHECK(widened.weight_dtype() == at::kFloat);
    // Computing in fp32 adds nothing to that.
    CHECK(relative_error(kept.forward(batch), widened.forward(batch)) < 1e-6);
    CHECK(relative_error(kept.forward(batch), logits) < (type == at::kHalf ? kRounded : kCoarser * kRounded));
    CHECK(relative_error(in_pieces(kept, batch.at("ids"), 1), kept.forward(batch)) < kPieces);
    // As a value, and as an export says it.
    register_linked_plugin(colonnade_plugin);
    const Model stored = Model::from_field(kept.to_field());
    CHECK(stored.weight_dtype() == type);
    CHECK(at::equal(stored.forward(batch), kept.forward(batch)));
    CHECK(published_files(kept).at("config.json").at("torch_dtype") == (type == at::kHalf ? "float16" : "bfloat16"));
    // A type of fewer digits on the way in.
    const Published whole(published_bytes(exact, "F32", at::kFloat));
    CHECK(at::equal(whole.load(dtype).forward(batch), kept.forward(batch)));
    CHECK_THROWS_WITH(kept.mutable_copy(), Catch::Contains("dtype = \"f32\""));
  }
}

TEST_CASE("a NaN, an infinity or a number beyond the type is named with its file and tensor") {
  use_one_thread();
  const Configuration c = configuration_of(DType::f32);
  const std::string site = "backbone.layers.1.mixer.x_proj";
  const auto message = [&](double number, const char* name, at::ScalarType as, DType dtype) {
    Model model = random_model(c, 9);
    model.writable(site).sparse[2][3] = number;
    const Published file(published_bytes(model, name, as));
    try {
      file.load(dtype);
    } catch (const Error& error) {
      CHECK_THAT(error.what(), Catch::Contains(file.path()) && Catch::Contains("tensor '" + site + ".weight'"));
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK_THAT(message(std::nan(""), "BF16", at::kBFloat16, DType::bf16), Catch::StartsWith("NaN in"));
  CHECK_THAT(message(1e6, "F16", at::kHalf, DType::f32), Catch::StartsWith("an infinity in"));
  CHECK_THAT(message(1e6, "F32", at::kFloat, DType::f16), Catch::Contains("numbers that f16 cannot hold"));
  CHECK(message(1e6, "F32", at::kFloat, DType::bf16).empty());
}

}  // namespace
}  // namespace colonnade::mamba
