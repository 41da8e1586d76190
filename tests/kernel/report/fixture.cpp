#include "tests/kernel/report/fixture.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace colonnade::host {

namespace {

namespace fs = std::filesystem;

Scalar scalar(double value, const std::string& unit, Better better) {
  Scalar out;
  out.value = value;
  out.n = 500;
  out.standard_error = std::abs(value) / 100;
  out.unit = unit;
  out.better = better;
  return out;
}

Table curve_of(std::size_t arm, std::uint64_t seed) {
  Table table;
  table.add_column("step", "integer");
  table.add_column("loss", "real", "nats");
  for (int step = 0; step <= 40; step += 10) {
    table.add_row(
        {step, 4.0 / (1 + step / 20.0) - 0.25 * static_cast<double>(arm) + 0.0625 * static_cast<double>(seed)});
  }
  return table;
}

Table layers_of(std::size_t arm) {
  Table table;
  table.add_column("site", "text");
  table.add_column("layer", "integer");
  table.add_column("change", "real", "nats");
  for (int layer = 0; layer < 2; ++layer) {
    for (const char* site : {"in_proj", "out_proj"})
      table.add_row({site, layer, 0.125 * layer - 0.0625 * static_cast<double>(arm)});
  }
  return table;
}

TrialResult trial_of(const std::string& name, std::size_t arm, std::uint64_t seed) {
  TrialResult trial;
  trial.arm = name;
  trial.seed = seed;
  trial.point = {{"first", arm % 2 == 1}, {"second", arm >= 2}, {"rank", 4 << arm}};
  const double noise = 0.01 * static_cast<double>((7 * seed + 3 * arm) % 5);
  trial.scalars["nats"] =
      scalar(2.0 - 0.2 * static_cast<double>(arm % 2) - (arm >= 2 ? 0.3 : 0.0) + noise, "nats", Better::lower);
  trial.scalars["size.nominal"] = scalar(1e6 / (1 + static_cast<double>(arm)), "bytes", Better::lower);
  trial.scalars["size.stored"] = scalar(1.25e6 / (1 + static_cast<double>(arm)), "bytes", Better::lower);
  trial.scalars["drift"] = scalar(arm == 3 && seed == 1 ? std::nan("") : 0.5 + noise, "", Better::neither);
  trial.tables["curve"] = curve_of(arm, seed);
  trial.tables["layers"] = layers_of(arm);
  trial.records["decisions"] = {{"kept", arm}};
  trial.measured["latency"] = scalar(3.0 + static_cast<double>(arm) + noise, "ms", Better::lower);
  return trial;
}

Json small_report() {
  const Json comparison = {{"metric", {"nats", "latency"}}, {"baseline", "base"}, {"log", false}};
  const Json effects = {{"metric", {"nats"}}, {"factors", {"first", "second"}}, {"log", true}};
  const Json half = {{"name", "half the bytes"}, {"metric", "size.stored"}, {"value", 0.5}, {"better", "higher"},
                     {"as", "reduction"},        {"baseline", "base"},      {"arm", ""},    {"cap", nullptr},
                     {"note", "stored"}};
  const Json bits = {{"name", "one nat"}, {"metric", "nats"}, {"value", 1.0},
                     {"better", "lower"}, {"as", "value"},    {"baseline", ""},
                     {"arm", "both"},     {"cap", 1.2},       {"note", "the data's own entropy"}};
  const Json fast = {{"name", "no slower"}, {"metric", "latency"}, {"value", 1.0},
                     {"better", "lower"},   {"as", "ratio"},       {"baseline", "base"},
                     {"arm", ""},           {"cap", nullptr},      {"note", ""}};
  const Json section = {{"title", "Layer contributions"},
                        {"text", "Change of the loss with a site switched off."},
                        {"table", {"layers", "nats"}}};
  return {{"comparisons", Json::array({comparison})},
          {"effects", Json::array({effects})},
          {"targets", Json::array({half, bits, fast})},
          {"sections", Json::array({section})}};
}

}  // namespace

Json figure(const std::string& type, const Json& options) {
  Json declared = {{"type", type}, {"name", type},  {"title", ""},   {"from", ""},    {"arms", Json::array()},
                   {"log", ""},    {"x_label", ""}, {"y_label", ""}, {"z_label", ""}, {"group", "arm"}};
  declared.update(options);
  return declared;
}

StudyResults small_results() {
  StudyResults results;
  results.study = "small";
  results.question = "Do the two methods add up?";
  results.arm_order = {"base", "+first", "+second", "both"};
  for (std::size_t arm = 0; arm < results.arm_order.size(); ++arm) {
    for (const std::uint64_t seed : {0, 1, 2}) results.trials.push_back(trial_of(results.arm_order[arm], arm, seed));
  }
  TrialResult broken;
  broken.arm = "broken";
  broken.point = {{"rank", 64}};
  broken.failure = "mask: target_sparsity = 1.5 is above 1";
  results.arm_order.push_back(broken.arm);
  for (const std::uint64_t seed : {0, 1, 2}) {
    broken.seed = seed;
    results.trials.push_back(broken);
  }
  results.shared.scalars["unigram"] = scalar(3.25, "nats", Better::lower);
  results.figures = Json::array(
      {figure("scatter", {{"x", "size.stored"}, {"y", "nats"}, {"title", "Size against loss"}}),
       figure("line", {{"from", "curve"}, {"x", "step"}, {"y", {"loss"}}}),
       figure("heatmap", {{"from", "layers"}, {"x", "site"}, {"y", "layer"}, {"z", "change"}, {"arms", {"both"}}}),
       figure("bars", {{"x", "arm"}, {"y", {"latency"}}, {"group", ""}})});
  results.report = small_report();
  results.lock = {{"settings", {{"threads", 1}}}, {"environment", {{"simd", "avx2"}}}};
  const Json param = {{"name", "rank"}, {"unit", ""}, {"doc", "rank of the update"}, {"default", 8}};
  const Json schema = {{"doc", "Adds a low-rank update."}, {"params", Json::array({param})}};
  results.parameter_tables.push_back(
      {{"op", "peft/lora"}, {"schema", schema}, {"values", {{"rank", Json::array({4, 8})}}}});
  ResultFile order{"files/both/seed-1/order.npy", "both", 1, false, "sort.order", hash_bytes("order"), {}};
  order.field = tensor_field(Blob::of<std::int64_t>(DType::i64, {2, 0, 1, -1, 1, 0}, {2, 3}));
  ResultFile layers{"files/layers.csv", "", 0, false, "probe.layers", hash_bytes("layers"), to_field(layers_of(1))};
  ResultFile times{"measured_files/times.csv", "", 0, true, "clock.times", hash_bytes("times"),
                   to_field(curve_of(0, 0))};
  results.files = {order, layers, times};
  results.notes = {"broken, seed 0 failed: mask: target_sparsity = 1.5 is above 1",
                   "op x gave other bytes for the same key"};
  return results;
}

StudyResults hostile_results() {
  StudyResults results;
  results.study = "a|b `c` *d*\n# e";
  results.arm_order = {"it's `date` $(date) \\", "a_b^{c} \"q\", | <i>", "100% %d @x #1 ~\n$data1 << END",
                       "\xff\xfe bad {{{ '"};
  for (std::size_t arm = 0; arm < results.arm_order.size(); ++arm) {
    TrialResult trial;
    trial.arm = results.arm_order[arm];
    trial.point = {{"it's {a} `b`", arm % 2 == 0 ? "x_{1}|`y`" : "',\"\n"}};
    trial.scalars["loss|`x`, \"y\""] = scalar(1.0 + static_cast<double>(arm), "n_{a}'ts", Better::lower);
    trial.scalars["size"] = scalar(std::pow(10.0, static_cast<double>(arm)), "by`tes`", Better::lower);
    if (arm == 3) trial.failure = "```\nnot *this* <b>either</b>";
    results.trials.push_back(std::move(trial));
  }
  const std::string loss = "loss|`x`, \"y\"", factor = "it's {a} `b`";
  results.figures = Json::array(
      {figure("scatter", {{"x", "size"}, {"y", loss}, {"title", "it's `date` {a}_b % ] ("}}),
       figure("bars", {{"x", "arm"}, {"y", {loss, "size"}}, {"group", ""}}),
       figure("line", {{"x", factor}, {"y", {loss}}, {"group", factor}}),
       figure("heatmap", {{"x", factor}, {"y", "arm"}, {"z", loss}}),
       figure("pareto", {{"x", "size"}, {"y", loss}, {"group", factor}, {"x_better", "lower"}, {"y_better", "higher"}}),
       figure("surface", {{"x", "size"}, {"y", loss}, {"z", "size"}})});
  return results;
}

ReportFolder::ReportFolder() {
  std::string pattern = (fs::temp_directory_path() / "colonnade-report-XXXXXX").string();
  REQUIRE(::mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
}

ReportFolder::~ReportFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string file_text(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

void check_approved(const std::string& name, const std::string& text) {
  const fs::path file = fs::path(COLONNADE_TEST_SOURCE_DIR) / "tests/kernel/report/approved" / name;
  if (std::getenv("COLONNADE_APPROVE") != nullptr) std::ofstream(file, std::ios::binary) << text;
  CHECK(file_text(file) == text);
}

}  // namespace colonnade::host
