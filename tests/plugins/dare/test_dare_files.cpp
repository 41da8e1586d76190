#include <ATen/Functions.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "colonnade/files.h"
#include "colonnade/random_words.h"
#include "colonnade/tensor/safetensors.h"
#include "dare_support.h"
#include "plugins/dare/numbers.h"

namespace colonnade::dare {

namespace {

using Catch::Matchers::Contains;

class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "colonnade-dare-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Scratch() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

const std::map<at::ScalarType, std::string> type_names = {
    {at::kFloat, "F32"}, {at::kHalf, "F16"}, {at::kBFloat16, "BF16"}, {at::kDouble, "F64"}, {at::kLong, "I64"}};

void write_text(const std::string& path, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

// In the order given, as other writers than ours do.
void write_weights(const std::string& path, const std::vector<std::pair<std::string, Tensor>>& tensors) {
  Json header = {{"__metadata__", {{"format", "pt"}}}};
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    const Tensor plain = tensor.contiguous();
    header[name] = {{"dtype", type_names.at(plain.scalar_type())},
                    {"shape", plain.sizes().vec()},
                    {"data_offsets", {data.size(), data.size() + plain.nbytes()}}};
    data.append(static_cast<const char*>(plain.const_data_ptr()), plain.nbytes());
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = text.size();
  write_text(path, std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + text + data);
}

Value thinned(const std::string& base, const std::string& tuned, Json params, std::uint64_t seed = 0, int threads = 1) {
  register_linked_plugin(colonnade_plugin);
  params["base"] = base;
  params["tuned"] = tuned;
  RunRequest request;
  request.op = "dare/dare_files";
  request.params = std::move(params);
  request.seed = seed;
  request.threads = threads;
  return run_op(request);
}

// The file as `export` writes it, read back.
NamedTensors read_back(const Scratch& scratch, const Value& value, const std::string& name = "model.safetensors") {
  const Blob bytes = files_from(value.at("files")).files.at(name);
  const std::string path = scratch / ("back/" + name);
  write_text(path, std::string(bytes.as<char>(), bytes.size()));
  const SafetensorsFile file = open_safetensors(path);
  NamedTensors tensors;
  for (const auto& [tensor, entry] : file.tensors) tensors[tensor] = read_tensor(file, tensor);
  CHECK(file.metadata.at("format") == "pt");
  return tensors;
}

Tensor normal(at::IntArrayRef shape, std::uint64_t seed) {
  return random_normal(RandomStream(seed).at("files"), shape, at::kFloat);
}

std::vector<std::pair<std::string, Tensor>> weights_of(const Model& model) {
  std::vector<std::pair<std::string, Tensor>> tensors;
  for (const SiteSpec& site : model.sites()) {
    tensors.emplace_back(site.tensor_name, effective_weight(model.weight(site.name)));
  }
  std::reverse(tensors.begin(), tensors.end());
  return tensors;
}

}  // namespace

TEST_CASE("files are thinned bit for bit as a model's sites are, whatever threads") {
  const Scratch scratch;
  const Model base = mamba(), fine = tuned(base), start = relative(fine, base);
  write_weights(scratch / "base.safetensors", weights_of(base));
  write_weights(scratch / "tuned.safetensors", weights_of(fine));
  for (const Json& params : std::vector<Json>{{{"drop_rate", 0.9}},
                                              {{"drop_rate", 0.9}, {"rescale", "l1"}},
                                              {{"drop_rate", 0.7}, {"exact_count", true}},
                                              {{"drop_rate", 0.6}, {"strategy", "magnitude"}},
                                              {{"drop_rate", 1.0}, {"rescale", "none"}},
                                              {{"drop_rate", 0.0}, {"strategy", "magnitude"}}}) {
    INFO(params.dump());
    const Model wanted = dared(start, params, 4);
    for (const int threads : {1, 2, 8}) {
      const Value value = thinned(scratch / "base.safetensors", scratch / "tuned.safetensors", params, 4, threads);
      const NamedTensors found = read_back(scratch, value);
      for (const SiteSpec& site : wanted.sites()) {
        const SiteWeight& weight = wanted.weight(site.name);
        CHECK(at::equal(found.at(site.tensor_name), weight.reference + weight.sparse));
      }
      std::int64_t dropped = 0;
      const Table report = table_from(value.at("report"));
      for (const Json& each : report.column("dropped").cells) dropped += each.get<std::int64_t>();
      std::int64_t kept = 0, elements = 0;
      for (const SiteSpec& site : wanted.sites()) {
        kept += wanted.weight(site.name).mask.sum().item<std::int64_t>();
        elements += site.elements();
      }
      CHECK(dropped == elements - kept);
      CHECK(scalar_from(value.at("sparsity")).value ==
            Approx(static_cast<double>(dropped) / static_cast<double>(elements)));
    }
  }
}

TEST_CASE("files that the same numbers thinned before are refused, by tensor") {
  const Scratch scratch;
  const Tensor base = normal({80, 100}, 1), fine = base + 0.01 * normal({80, 100}, 2);
  write_weights(scratch / "base.safetensors", {{"a.weight", base}});
  write_weights(scratch / "tuned.safetensors", {{"a.weight", fine}});
  const Value thin = thinned(scratch / "base.safetensors", scratch / "tuned.safetensors", {{"drop_rate", 0.9}});
  read_back(scratch, thin);
  const std::string again = scratch / "back/model.safetensors";
  for (const double rate : {0.5, 0.9, 0.95}) {
    CHECK_THAT(small::error_of([&] {
                 thinned(scratch / "base.safetensors", again, {{"drop_rate", rate}});
               }),
               Contains("tensor 'a.weight' was thinned by the same numbers before") && Contains("another `seed`"));
  }
  CHECK_NOTHROW(thinned(scratch / "base.safetensors", again, {{"drop_rate", 0.9}}, 1));
}

TEST_CASE("every type of number is computed in fp32 and rounded once; what is larger than a task too") {
  const Scratch scratch;
  const std::int64_t rows = 700, columns = 801;  // more than two tasks, and no multiple of any block
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
    const Tensor base = normal({rows, columns}, 1).to(type),
                 tuned = (base + 0.01 * normal({rows, columns}, 2)).to(type);
    write_weights(scratch / "a", {{"x.weight", base}});
    write_weights(scratch / "b", {{"x.weight", tuned}});
    const auto wide = type == at::kDouble ? at::kDouble : at::kFloat;
    const Tensor difference = tuned.to(wide) - base.to(wide);
    for (const char* strategy : {"uniform", "magnitude"}) {
      const Value value = thinned(scratch / "a", scratch / "b", {{"drop_rate", 0.8}, {"strategy", strategy}}, 2, 2);
      Tensor keep;
      if (std::string(strategy) == "uniform") {
        std::vector<std::uint32_t> words(static_cast<std::size_t>(rows * columns));
        random_words(RandomStream(2).at("dare/dare").at(std::uint64_t{0}).at("x"), 0, words);
        keep = at::empty({rows, columns}, at::kBool);
        for (std::size_t i = 0; i < words.size(); ++i) keep.data_ptr<bool>()[i] = words[i] >= word_threshold(0.8);
      } else {
        // The smallest go, of equal ones the first.
        const Tensor order = difference.abs().reshape({-1}).argsort(true, 0, false);
        keep = at::ones({rows * columns}, at::kBool);
        keep.index_fill_(0, order.narrow(0, 0, std::llround(0.8 * rows * columns)), false);
        keep = keep.reshape({rows, columns});
      }
      const Tensor scaled = difference * at::scalar_tensor(1 / (1 - 0.8), wide);
      const Tensor wanted = (base.to(wide) + at::where(keep, scaled, at::zeros({}, wide))).to(type);
      INFO(c10::toString(type) << " " << strategy);
      CHECK(at::equal(read_back(scratch, value).at("x.weight"), wanted));
    }
  }
}

TEST_CASE("halves of every pattern survive, and rounding is to the nearest even") {
  std::vector<std::uint16_t> patterns(1 << 16);
  for (std::size_t i = 0; i < patterns.size(); ++i) patterns[i] = static_cast<std::uint16_t>(i);
  const auto count = static_cast<std::int64_t>(patterns.size());
  for (const auto& [number, type] : {std::pair{Number::f16, at::kHalf}, std::pair{Number::bf16, at::kBFloat16}}) {
    const Tensor given = at::from_blob(patterns.data(), {count}, type).to(at::kFloat);
    std::vector<float> wide(patterns.size());
    widen<float>(number, reinterpret_cast<const std::byte*>(patterns.data()), count, wide.data());
    const Tensor found = at::from_blob(wide.data(), {count}, at::kFloat);
    CHECK(at::equal(at::nan_to_num(found, 7), at::nan_to_num(given, 7)));
    CHECK(at::equal(at::isnan(found), at::isnan(given)));
    // Between every two neighbours: a quarter of the way, halfway, three quarters, and a little beside.
    const Tensor finite = given.index({at::isfinite(given)});
    for (const double share : {0.0, 0.25, 0.4999, 0.5, 0.5001, 0.75}) {
      const Tensor zero = at::zeros_like(finite);
      const Tensor values =
          (finite.to(at::kDouble) * (1 + share * (type == at::kHalf ? 0x1p-10 : 0x1p-7))).to(at::kFloat);
      std::vector<std::uint16_t> out(static_cast<std::size_t>(values.numel()));
      const bool all_finite = add_narrow<float>(number, zero.const_data_ptr<float>(), values.const_data_ptr<float>(),
                                                values.numel(), reinterpret_cast<std::byte*>(out.data()));
      const Tensor rounded = at::from_blob(out.data(), {values.numel()}, type);
      CHECK(at::equal(rounded, values.to(type)));
      CHECK(all_finite == at::isfinite(values.to(type)).all().item<bool>());
    }
  }
}

TEST_CASE("folders of shards keep their files, their names and what stands beside them") {
  const Scratch scratch;
  const Tensor a = normal({20, 30}, 1), b = normal({50}, 2), extra = normal({4}, 3), ids = at::arange(5, at::kLong);
  // The base in other shards than the tuned.
  write_weights(scratch / "base/model.safetensors", {{"b.bias", b}, {"a.weight", a}, {"ids", ids}, {"gone", extra}});
  write_weights(scratch / "tuned/model-00001-of-00002.safetensors", {{"a.weight", a + 0.01}, {"ids", ids + 1}});
  write_weights(scratch / "tuned/model-00002-of-00002.safetensors",
                {{"b.bias", b - 0.01}, {"extra", extra}, {"none", at::empty({0, 3})}});
  write_text(scratch / "tuned/config.json", "{\"model_type\": \"unknown to us\"}");
  write_text(scratch / "tuned/notes.bin", "not taken along");
  const Value value = thinned(scratch / "base", scratch / "tuned", {{"drop_rate", 1.0}, {"rescale", "none"}});
  const Files files = files_from(value.at("files"));
  CHECK(files.format == "safetensors");
  REQUIRE(files.files.size() == 3);
  CHECK(files.files.at("config.json").size() == 31);
  const NamedTensors one = read_back(scratch, value, "model-00001-of-00002.safetensors");
  const NamedTensors two = read_back(scratch, value, "model-00002-of-00002.safetensors");
  CHECK(at::equal(one.at("a.weight"), a));
  CHECK(at::equal(one.at("ids"), ids + 1));
  CHECK(at::equal(two.at("b.bias"), b));
  CHECK(at::equal(two.at("extra"), extra));
  const Table report = table_from(value.at("report"));
  const auto reason = [&](const std::string& tensor) {
    const Json& names = report.column("tensor").cells;
    const auto row = std::find(names.begin(), names.end(), tensor) - names.begin();
    return report.column("kept_whole").cells.at(static_cast<std::size_t>(row)).get<std::string>();
  };
  CHECK(reason("a.weight").empty());
  CHECK(reason("ids") == "it holds whole numbers");
  CHECK(reason("extra") == "the base has none of this name");
  CHECK_THAT(reason("none"), Contains("the base has none") || Contains("it is empty"));
  CHECK(reason("gone") == "only the base has it: left out");
}

TEST_CASE("what does not fit together, is damaged or is no number is told by file and tensor") {
  const Scratch scratch;
  const Tensor a = normal({6, 5}, 1);
  write_weights(scratch / "base", {{"a.weight", a}, {"b", a}});
  const auto error = [&](const std::vector<std::pair<std::string, Tensor>>& tensors, Json params = Json::object()) {
    write_weights(scratch / "tuned", tensors);
    return small::error_of([&] { thinned(scratch / "base", scratch / "tuned", params); });
  };
  CHECK_THAT(error({{"a.weight", a.t()}}), Contains("tuned: tensor 'a.weight' has the shape [5, 6], the base's in"));
  CHECK_THAT(error({{"c", a}}), Contains("has no tensor of numbers in common"));
  Tensor bad = a.clone();
  bad[3][2] = std::nan("");
  CHECK_THAT(error({{"a.weight", bad}}), Contains("tensor 'a.weight' differs from the base by a NaN or an infinity"));
  CHECK_THAT(error({{"a.weight", bad}}, {{"rescale", "l1"}}), Contains("'a.weight'"));
  write_weights(scratch / "base", {{"a.weight", a.to(at::kHalf)}});
  CHECK_THAT(error({{"a.weight", (a + 30000).to(at::kHalf)}}, {{"drop_rate", 0.9}}),
             Contains("is no finite number of its type any more when its difference is scaled by 10"));
  std::filesystem::create_directories(scratch / "empty");
  write_text(scratch / "empty/pytorch_model.bin", "x");
  CHECK_THAT(small::error_of([&] { thinned(scratch / "base", scratch / "empty", Json::object()); }),
             Contains("has no file *.safetensors; there are: pytorch_model.bin"));
  write_weights(scratch / "twice/one.safetensors", {{"a.weight", a}});
  write_weights(scratch / "twice/two.safetensors", {{"a.weight", a}});
  CHECK_THAT(small::error_of([&] { thinned(scratch / "base", scratch / "twice", Json::object()); }),
             Contains("tensor 'a.weight' lies in"));
}

}  // namespace colonnade::dare
