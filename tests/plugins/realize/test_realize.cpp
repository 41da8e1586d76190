#include <ATen/Functions.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "colonnade/files.h"
#include "colonnade/tensor/safetensors.h"
#include "realize_support.h"
#include "tests/support/safetensors_bytes.h"

namespace colonnade::realize {

namespace {

using Catch::Matchers::Contains;
namespace fs = std::filesystem;

Value realized(const Model& model, Json params = Json::object(), Inputs others = {}) {
  register_linked_plugin(colonnade_plugin);
  others.emplace_back("model", model.to_field());
  return small::run("realize/realize", std::move(params), std::move(others));
}

Model model_of(const Value& value) {
  return Model::from_field(value.at("model"));
}

// A folder with what an export op gave, gone with its test.
class Exported {
 public:
  Exported(const std::string& op, const Model& model, Json params = Json::object())
      : folder_(fs::temp_directory_path() / ("colonnade-export-" + std::to_string(getpid()))) {
    register_linked_plugin(colonnade_plugin);
    fs::create_directories(folder_);
    const Value value = small::run(op, std::move(params), {{"model", model.to_field()}});
    for (const auto& [name, bytes] : files_from(value.at("files")).files) {
      std::ofstream(folder_ / name, std::ios::binary)
          .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
      size_ += bytes.size();
    }
  }
  ~Exported() { fs::remove_all(folder_); }
  std::string path() const { return folder_.string(); }
  bool has(const std::string& name) const { return fs::exists(folder_ / name); }
  std::size_t size() const { return size_; }

 private:
  fs::path folder_;
  std::size_t size_ = 0;
};

Model loaded(const std::string& op, const std::string& path, Json params = Json::object()) {
  if (!op.starts_with("realize")) load_plugin(op.substr(0, op.find('/')));
  params["path"] = path;
  return Model::from_field(small::run(op, std::move(params), {}).at("model"));
}

// What of `ours` `theirs` says otherwise: entries of objects, by path.
std::string disagreements(const Json& ours, const Json& theirs, const std::string& path = "") {
  std::string found;
  for (const auto& [key, value] : ours.items()) {
    // Which of its classes wrote it is not always said; the sizes of projections in towers are not read.
    if (!theirs.contains(key) || theirs.at(key).is_null() || path + key == "text_config.projection_dim" ||
        path + key == "vision_config.projection_dim") {
      continue;
    }
    if (value.is_object()) {
      found += disagreements(value, theirs.at(key), path + key + ".");
    } else if (value != theirs.at(key)) {
      found += path + key + ": " + value.dump() + " and " + theirs.at(key).dump() + "; ";
    }
  }
  return found;
}

std::string form_at(const Value& value, const std::string& site) {
  const Table report = table_from(value.at("report"));
  for (std::size_t i = 0; i < report.rows(); ++i) {
    if (report.column("site").cells.at(i) == site) return report.column("form").cells.at(i).get<std::string>();
  }
  return "";
}

constexpr const char* in_proj = "backbone.layers.0.mixer.in_proj";
constexpr const char* out_proj = "backbone.layers.1.mixer.out_proj";

}  // namespace

TEST_CASE("a realised model gives the outputs of the one it was, from fewer bytes, in every form") {
  const Model base = mamba(), start = relative(tuned(base), base);
  const std::string linears = "kind:linear";
  const Model sparse = run_on("dare/dare", base, {{"drop_rate", 0.9}, {"sites", linears}});
  const Model low = run_on("nullu/truncate", base, {{"on", "effective"}, {"rank", 3}, {"sites", linears}});
  const Model rows = run_on(
      "dare/dare", base, {{"drop_rate", 0.5}, {"strategy", "structured"}, {"structure", "rows"}, {"sites", in_proj}});
  Model both = sparse.mutable_copy();
  edit_low_rank(both.writable(out_proj), random_normal(RandomStream(1), {48, 2}),
                random_normal(RandomStream(2), {96, 2}));
  const Batch batch = small::batch(3, 20);
  const auto check = [&](const Model& model, const std::string& site, const std::string& form) {
    const Value value = realized(model);
    const Model quick = model_of(value);
    CHECK(form_at(value, site) == form);
    CHECK(quick.hooks().empty());
    // Sums over at most 192 products in another order, through two layers.
    CHECK(small::relative_error(quick.forward(batch), model.forward(batch)) < 2e-5);
    const Exported file("realize/compact", quick);
    const Model back = loaded("realize/load", file.path());
    CHECK(at::equal(back.forward(batch), quick.forward(batch)));
    CHECK(back.to_field().content_hash() == quick.to_field().content_hash());
    // The file's coding is the one that is counted, one byte a site and a header beside it.
    const auto sites = static_cast<double>(model.sites().size());
    CHECK(static_cast<double>(file.size()) - number(stored(model), "whole") <= sites + 600);
    return value;
  };
  check(base, in_proj, "dense");
  check(start, in_proj, "dense");
  CHECK(number(check(sparse, in_proj, "sparse"), "compression") > 0.5);
  CHECK(number(check(low, in_proj, "low rank"), "compression") > 0.5);
  CHECK(number(check(rows, in_proj, "compact"), "compression") > 0.1);
  check(both, out_proj, "sparse + low rank");
  Model zero = base.mutable_copy();
  zero.writable(in_proj).sparse.zero_();
  check(zero, in_proj, "zero");
}

TEST_CASE("by time the table decides, and a table of another model is refused") {
  const Model model = run_on("dare/dare", mamba(), {{"drop_rate", 0.9}, {"sites", "kind:linear"}});
  register_linked_plugin(colonnade_plugin);
  const Value measured =
      small::run("realize/timings", {{"samples", 16}, {"repeats", 2}}, {{"model", model.to_field()}});
  const Table table = table_from(measured.at("timings"));
  CHECK(table.rows() >= 2 * 4 * 2);  // two layers of four linears, dense and sparse; compact where a line is all zero
  for (const Json& seconds : table.column("seconds").cells) CHECK(seconds.get<double>() > 0);
  Table made_up;
  made_up.add_column("site", "text");
  made_up.add_column("form", "text");
  made_up.add_column("seconds", "real");
  for (std::size_t i = 0; i < table.rows(); ++i) {
    const Json &site = table.column("site").cells.at(i), &form = table.column("form").cells.at(i);
    made_up.add_row({site, form, form == (site == in_proj ? "dense" : "sparse") ? 1.0 : 2.0});
  }
  const Value value = realized(model, {{"by", "time"}}, {{"timings", to_field(made_up)}});
  CHECK(form_at(value, in_proj) == "dense");
  CHECK(form_at(value, out_proj) == "sparse");
  CHECK_THAT(small::error_of([&] { realized(model, {{"by", "time"}}); }), Contains("needs the input `timings`"));
  const Model other = run_on("nullu/truncate", mamba(), {{"on", "effective"}, {"rank", 3}, {"sites", "kind:linear"}});
  CHECK_THAT(small::error_of([&] {
               realized(other, {{"by", "time"}}, {{"timings", to_field(made_up)}});
             }),
             Contains("low rank") && Contains("this very model"));
  CHECK_THAT(small::error_of([&] { realized(model, {{"sites", "*.conv1d"}}); }), Contains("only linear sites"));
}

TEST_CASE("a compact file holds rounded numbers, and is refused where it is damaged") {
  const Model model = run_on("dare/dare", mamba(), {{"drop_rate", 0.9}});
  for (const char* values : {"fp16", "int8", "sign"}) {
    const Exported file("realize/compact", model, {{"values", values}, {"positions", "seed"}});
    CHECK(same_weights(loaded("realize/load", file.path()), rounded(model, values)));
  }
  const Exported file("realize/compact", model);
  const fs::path path = fs::path(file.path()) / "model.compact";
  const auto size = fs::file_size(path);
  for (std::uintmax_t length : {std::uintmax_t{0}, std::uintmax_t{9}, std::uintmax_t{60}, size / 2, size - 1}) {
    fs::resize_file(path, length);
    CHECK_THAT(small::error_of([&] { loaded("realize/load", file.path()); }), Contains("model.compact"));
  }
}

TEST_CASE("a model in Hugging Face's layout is read back bit for bit, in one file and in several") {
  for (const char* dtype : {"f32", "f64"}) {
    const Model model = run_on("dare/dare", mamba(48, 3, dtype), {{"drop_rate", 0.5}});
    const Exported files("realize/hf", model);
    CHECK(files.has("config.json"));
    const Model back = loaded("mamba/load", files.path(), {{"dtype", dtype}});
    CHECK(back.configuration() == model.configuration());
    CHECK(same_weights(back, model));
  }
  const Model model = mamba();
  const Exported shards("realize/hf", model, {{"shard_bytes", 40'000}});
  CHECK(shards.has("model.safetensors.index.json"));
  CHECK(!shards.has("model.safetensors"));
  std::ifstream stream(fs::path(shards.path()) / "model.safetensors.index.json");
  const Json index = Json::parse(stream);
  CHECK(index.at("weight_map").size() == model.sites().size());
  for (const Json& name : index.at("weight_map")) CHECK(shards.has(name.get<std::string>()));
  CHECK(same_weights(loaded("mamba/load", shards.path()), model));
}

TEST_CASE("a CLIP in Hugging Face's layout is read back bit for bit") {
  load_plugin("clip");
  for (const char* activation : {"quick_gelu", "gelu"}) {
    Json params = {{"picture", 24}, {"patch", 8}, {"vocabulary", 40}, {"length", 9}, {"activation", activation}};
    for (const char* side : {"text_", "vision_"}) {
      params[side + std::string("width")] = side[0] == 't' ? 16 : 24;
      params[side + std::string("layers")] = 1;
      params[side + std::string("heads")] = 4;
    }
    params["end_token"] = 17;
    const Model model = tuned(Model::from_field(small::run("clip/clip", params, {}, 2).at("model")));
    const Exported files("realize/hf", model);
    CHECK(files.has("preprocessor_config.json"));
    const Model back = loaded("clip/load", files.path());
    CHECK(back.configuration() == model.configuration());
    CHECK(same_weights(back, model));
  }
  const Json params = {{"picture", 24}, {"patch", 8}, {"vocabulary", 40}, {"end_token", 2}};
  const Model early = Model::from_field(small::run("clip/clip", params, {}).at("model"));
  CHECK_THAT(small::error_of([&] { Exported("realize/hf", early); }), Contains("end token is 2"));
}

TEST_CASE("a published model read and written again has its published tensors, names, shapes and configuration") {
  const fs::path oracles = fs::path(COLONNADE_TEST_SOURCE_DIR) / "tests" / "oracles";
  for (const char* fixture : {"clip/square", "clip/dual", "mamba/plain", "mamba/biased", "mamba/published"}) {
    INFO(fixture);
    const std::string family = std::string(fixture).substr(0, std::string(fixture).find('/'));
    const Model model = loaded(family + "/load", (oracles / fixture).string());
    const Exported files("realize/hf", model);
    const SafetensorsFile published = open_safetensors((oracles / fixture / "model.safetensors").string());
    const SafetensorsFile written = open_safetensors(files.path() + "/model.safetensors");
    for (const auto& [name, entry] : published.tensors) {
      if (name == "lm_head.weight") continue;  // the embedding again
      REQUIRE(written.tensors.contains(name));
      CHECK(written.tensors.at(name).shape == entry.shape);
      CHECK(at::equal(read_tensor(written, name), read_tensor(published, name)));
    }
    CHECK(written.metadata.at("format") == "pt");
    std::ifstream theirs(oracles / fixture / "config.json"), ours(files.path() + "/config.json");
    CHECK(disagreements(Json::parse(ours), Json::parse(theirs)) == "");
  }
}

TEST_CASE("half-precision weights are exported with the bytes that were loaded") {
  const fs::path source = fs::path(COLONNADE_TEST_SOURCE_DIR) / "tests" / "oracles" / "mamba" / "biased";
  const SafetensorsFile published = open_safetensors((source / "model.safetensors").string());
  const fs::path folder = fs::temp_directory_path() / ("colonnade-half-" + std::to_string(getpid()));
  fs::create_directories(folder);
  fs::copy_file(source / "config.json", folder / "config.json", fs::copy_options::overwrite_existing);
  for (const auto& [type, name] : {std::pair{at::kBFloat16, "BF16"}, {at::kHalf, "F16"}}) {
    Json header = Json::object();
    std::string data;
    std::map<std::string, std::string> bytes_of;
    for (const auto& [tensor, entry] : published.tensors) {
      if (tensor == "lm_head.weight") continue;  // the embedding again
      Tensor half = read_tensor(published, tensor).to(type).contiguous();
      // Numbers that a detour through another type or a sum could change: -0, and the smallest there is.
      auto* const bits = static_cast<std::uint16_t*>(half.mutable_data_ptr());
      bits[0] = 0x8000;
      bits[half.numel() - 1] = 1;
      bytes_of[tensor].assign(static_cast<const char*>(half.const_data_ptr()), half.nbytes());
      header[tensor] = {
          {"dtype", name}, {"shape", entry.shape}, {"data_offsets", {data.size(), data.size() + half.nbytes()}}};
      data += bytes_of[tensor];
    }
    std::ofstream(folder / "model.safetensors", std::ios::binary) << safetensors_bytes(header.dump(), data);
    const Model model = loaded("mamba/load", folder.string(), {{"dtype", "stored"}});
    for (const double shard_bytes : {5e9, 4e4}) {
      const Exported files("realize/hf", model, {{"shard_bytes", shard_bytes}});
      std::map<std::string, std::string> written;
      for (const auto& entry : fs::directory_iterator(files.path())) {
        if (entry.path().extension() != ".safetensors") continue;
        const SafetensorsFile file = open_safetensors(entry.path().string());
        for (const auto& [tensor, unused] : file.tensors) {
          const Tensor half = read_tensor(file, tensor);
          CHECK(half.scalar_type() == type);
          written[tensor].assign(static_cast<const char*>(half.const_data_ptr()), half.nbytes());
        }
      }
      CHECK(written == bytes_of);
    }
  }
  fs::remove_all(folder);
}

TEST_CASE("a family that is published nowhere says so") {
  CHECK_THAT(small::error_of([&] { Exported("realize/hf", small::make("f32")); }), Contains("fixture/small"));
}

}  // namespace colonnade::realize
