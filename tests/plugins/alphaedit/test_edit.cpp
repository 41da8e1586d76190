#include <catch2/catch.hpp>

#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "alphaedit_support.h"
#include "plugins/alphaedit/facts.h"
#include "plugins/alphaedit/shift.h"

namespace colonnade::alphaedit {

namespace {

using Catch::Matchers::Contains;

const std::string site = "backbone.layers.1.mixer.out_proj";
constexpr std::int64_t bytes = 256;

// A text of bytes of which the model's activations are to be preserved.
Field background(std::uint64_t seed) {
  Tokens tokens;
  const RandomStream random = RandomStream(seed).at("background");
  std::vector<std::uint8_t> ids;
  for (std::uint64_t i = 0; i < 1300; ++i) ids.push_back(static_cast<std::uint8_t>('a' + random.below(i, 8)));
  tokens.ids = Blob::of(DType::u8, ids);
  return to_field(tokens);
}

Statistics preserved(const Model& model, std::uint64_t seed = 1) {
  return collect_statistics(model, {site}, calibration_batches(background(seed), 20, 60, model.dtype()));
}

Field facts_table(const std::vector<std::vector<std::string>>& rows) {
  Table table;
  for (const char* name : {"prompt", "subject", "target", "old", "paraphrase", "neighbour", "negation"})
    table.add_column(name, "text");
  for (const auto& row : rows) table.add_row({row.begin(), row.end()});
  return to_field(table);
}

// Synthetic ones: an untrained model knows none of them. Nor has it learned to carry anything from the middle of a
// prompt to its end, so each is keyed at the byte before its answer.
Field some_facts() {
  return facts_table(
      {{"the capital of Xyl ", "Xyl ", "Q", "R", "a capital: Xyl ", "the capital of Vob ", "no: Xyl "},
       {"it is played by Brun ", "Brun ", "Z", "K", "who plays? Brun ", "it is played by Moor ", "not Brun "},
       {"a number called nine ", "nine ", "W", "M", "it counts to nine ", "a number called four ", "un nine "}});
}

Value edit(const Model& model, const Field& facts, const Statistics& preserve, Json params,
           const std::optional<Field>& previous = {}, const std::optional<Statistics>& held_out = {}) {
  params["sites"] = params.value("sites", site);
  small::Inputs inputs = {{"model", model.to_field()}, {"facts", facts}, {"preserve", to_field(preserve)}};
  if (previous) inputs.emplace_back("previous", *previous);
  if (held_out) inputs.emplace_back("held_out", to_field(*held_out));
  return run("edit", std::move(params), inputs);
}

double recalled(const Model& model, const Field& facts, const std::string& measure) {
  const Value value = run("recall", Json::object(), {{"model", model.to_field()}, {"facts", facts}});
  return scalar_from(value.at(measure)).value;
}

// An untrained model gives little at one site, so δ may be long here.
const Json strong = {{"clamp", 60.0},   {"step_size", 6.0}, {"ridge", 1e-4},
                     {"epsilon", 0.05}, {"steps", 12},      {"decay", 0.0}};

}  // namespace

TEST_CASE("facts written are recalled, and what is preserved moves within its bound") {
  const Model model = mamba("f32", bytes);
  const Field facts = some_facts();
  const Statistics preserve = preserved(model);
  const Statistics others = preserved(model, 2);
  const Value value = edit(model, facts, preserve, strong, {}, others);
  const Model edited = Model::from_field(value.at("model"));
  CHECK(cell(value, "unwritten").get<double>() < 0.05);
  CHECK(cell(value, "rank") == 3);
  CHECK(cell(value, "drift").get<double>() <= cell(value, "drift_bound").get<double>() * (1 + 1e-5));
  CHECK(cell(value, "nats_aimed").get<double>() < cell(value, "nats_before").get<double>());
  CHECK(recalled(edited, facts, "efficacy") == 1);
  CHECK(recalled(edited, facts, "generalisation") == 1);
  for (const char* measure : {"specificity", "negation"}) {
    const double share = recalled(edited, facts, measure);
    CHECK(share >= 0);
    CHECK(share <= 1);
  }
  CHECK(recalled(edited, facts, "nats") < recalled(model, facts, "nats") - 0.5);
  // What the search aimed at is what the edit gives, but for the part left unwritten.
  CHECK(recalled(edited, facts, "nats") == Approx(cell(value, "nats_aimed").get<double>()).margin(0.3));
  // Other text of the same kind: its outputs hardly move.
  const Tensor change = (effective_weight(edited.weight(site)) - model.weight(site).sparse).to(at::kDouble);
  const auto on = [&](const Statistics& statistics) {
    const Tensor& gram = statistics.sites.at(site).gram;
    const Tensor weight = model.weight(site).sparse.to(at::kDouble);
    return std::sqrt((at::matmul(change, gram) * change).sum().item<double>() /
                     (at::matmul(weight, gram) * weight).sum().item<double>());
  };
  const Tensor free_change = [&] {
    Json free = strong;
    free["epsilon"] = 1.0;
    const Model unconstrained = Model::from_field(edit(model, facts, preserve, free).at("model"));
    return (effective_weight(unconstrained.weight(site)) - model.weight(site).sparse).to(at::kDouble);
  }();
  const Tensor held_out = others.sites.at(site).gram;
  CHECK(cell(value, "held_out_drift").get<double>() ==
        Approx(std::sqrt((at::matmul(change, held_out) * change).sum().item<double>())).epsilon(1e-6));
  CHECK((at::matmul(change, held_out) * change).sum().item<double>() <
        (at::matmul(free_change, held_out) * free_change).sum().item<double>());
  CHECK(on(others) < 3 * on(preserve));
}

TEST_CASE("an edit that cannot help says why") {
  const Model model = mamba("f32", bytes);
  const Statistics preserve = preserved(model);
  // Keyed in the middle of the prompt, in the last layer: nothing carries it to the answer.
  const Field distant = facts_table({{"the capital of Xyl is ", "Xyl", "Q", "R", "", "", ""}});
  const Value value = edit(model, distant, preserve, Json::object());
  CHECK(cell(value, "note").get<std::string>().find("does not reach") != std::string::npos);
  CHECK(cell(value, "rank") == 0);
  CHECK(value.at("model").content_hash() == model.to_field().content_hash());
  CHECK(cell(edit(model, some_facts(), preserve, strong), "note") == "");
}

TEST_CASE("a mask's zeros stay, and facts are written over several sites by shares") {
  Model model = mamba("f64", bytes).mutable_copy();
  apply_mask(model.writable(site), normal({48, 96}, 3) > 0);
  const std::string both = "role:out_proj";
  const Statistics preserve = collect_statistics(model, selected_names(select_sites(model, both)),
                                                 calibration_batches(background(1), 20, 60, model.dtype()));
  Json params = strong;
  params["sites"] = both;
  const Value value = edit(model, some_facts(), preserve, params);
  const Model edited = Model::from_field(value.at("model"));
  CHECK(table_from(value.at("report")).rows() == 2);
  CHECK(at::equal(edited.weight(site).sparse, model.weight(site).sparse));
  CHECK(recalled(edited, some_facts(), "efficacy") == 1);
}

TEST_CASE("later edits leave earlier ones standing when they know their keys") {
  const Model model = mamba("f64", bytes);
  const Field first = some_facts();
  const Field second = facts_table({{"a river called Ouse ", "Ouse ", "U", "", "", "", ""},
                                    {"the colour of grass ", "grass ", "J", "", "", "", ""}});
  const Statistics preserve = preserved(model);
  const Value one = edit(model, first, preserve, strong);
  const Model once = Model::from_field(one.at("model"));
  const Model aware = Model::from_field(edit(once, second, preserve, strong, one.at("keys")).at("model"));
  const Model unaware = Model::from_field(edit(once, second, preserve, strong).at("model"));
  const double stood = recalled(once, first, "nats");
  CHECK(std::abs(recalled(aware, first, "nats") - stood) < std::abs(recalled(unaware, first, "nats") - stood) + 1e-9);
  CHECK(recalled(aware, second, "nats") < recalled(once, second, "nats"));
  const Statistics keys = statistics_from(edit(once, second, preserve, strong, one.at("keys")).at("keys"));
  CHECK(keys.sites.at(site).count == 5);
}

TEST_CASE("the search's gradient goes down, its clamp holds, and a satisfied fact is left alone") {
  const Model model = mamba("f64", bytes);
  const auto facts = facts_from(some_facts());
  ShiftOptions options;
  options.clamp = 0.5;
  const Shift clamped = find_shift(model, site, facts, options);
  CHECK((clamped.after < clamped.before).all().item<bool>());
  struct Watch final : Observer {
    Tensor output;
    bool wants_site(const SiteSpec& spec) const override { return spec.name == site; }
    void on_site(const SiteSpec&, const Tensor&, const Tensor& out) override { output = out.clone(); }
  } watch;
  Batch batch;
  const Prompted text = encode({facts[0].prompt}, {facts[0].target}, {facts[0].subject});
  batch.tensors["ids"] = text.ids;
  model.forward(batch, {}, &watch);
  const double length = watch.output[0][text.keys[0].item<std::int64_t>()].norm().item<double>();
  CHECK(clamped.delta[0].norm().item<double>() <= 0.5 * length * (1 + 1e-9));
  options.stop = 1e9;
  CHECK(find_shift(model, site, facts, options).delta.norm().item<double>() == 0);
}

TEST_CASE("texts become bytes with the answer's positions scored and the subject's end keyed") {
  const Prompted text = encode({"ab cd", "x "}, {"ef", "yz"}, {"ab", ""});
  REQUIRE(text.ids.sizes() == at::IntArrayRef({2, 7}));
  CHECK(text.keys[0].item<std::int64_t>() == 1);
  CHECK(text.keys[1].item<std::int64_t>() == 1);
  const auto target = [&](std::int64_t row, std::int64_t t) { return text.targets[row][t].item<std::int64_t>(); };
  CHECK(target(0, 3) == not_scored);
  CHECK(target(0, 4) == ' ');
  CHECK(target(0, 5) == 'e');
  CHECK(target(0, 6) == 'f');
  CHECK(target(1, 1) == 'y');
  CHECK(target(1, 2) == 'z');
  CHECK(target(1, 3) == not_scored);
  // Padding does not matter.
  const Model model = mamba("f64", bytes);
  const double alone = nats(model, encode({"x "}, {"yz"}, {""})).item<double>();
  CHECK(nats(model, text)[1].item<double>() == Approx(alone).epsilon(1e-10));
}

TEST_CASE("fluency falls where a text repeats itself") {
  CHECK(fluency_of("a b c d e f g h") == Approx(2.0 / 3 * std::log2(7) + 4.0 / 3 * std::log2(6)));
  CHECK(fluency_of("a a a a a a a a") == 0);
  CHECK(fluency_of("") == 0);
  const Model model = mamba("f64", bytes);
  CHECK(continue_greedily(model, {"ab", "c"}, 5)[1].size() == 5);
}

TEST_CASE("what a model prefers is counted, missing columns are no facts") {
  const Model model = mamba("f64", bytes);
  const Field facts = facts_table({{"a b", "", "Q", "", "", "", ""}});
  const Value value = run("recall", {{"generate", 4}}, {{"model", model.to_field()}, {"facts", facts}});
  CHECK(std::isnan(scalar_from(value.at("efficacy")).value));
  CHECK(scalar_from(value.at("efficacy")).n == 0);
  CHECK(scalar_from(value.at("nats")).n == 1);
  CHECK(scalar_from(value.at("fluency")).n == 1);
}

TEST_CASE("files of facts: columns, line ends, mistakes with file and line") {
  const std::string path = "/tmp/colonnade_facts_" + std::to_string(::getpid()) + ".tsv";
  const auto read = [&](const std::string& content) {
    std::ofstream(path) << content;
    return run("facts", {{"path", path}}, {});
  };
  const auto error = [&](const std::string& content) { return small::error_of([&] { read(content); }); };
  const auto facts = facts_from(read("prompt\ttarget\told\r\na b\tc\td\r\n\ne\tf\t\n").at("facts"));
  REQUIRE(facts.size() == 2);
  CHECK(facts[0].old == "d");
  CHECK(facts[1].prompt == "e");
  CHECK_THAT(error("prompt\ttraget\n"),
             Contains(path + ":1: the header names a column 'traget'") && Contains("did you mean 'target'?"));
  CHECK_THAT(error("prompt\ttarget\na\tb\nc\n"), Contains(path + ":3: 1 columns, the header has 2"));
  CHECK_THAT(error("prompt\ttarget\n"), Contains("there are no facts"));
  CHECK_THAT(error("prompt\ttarget\na\t\n"), Contains("fact 1: prompt and target have to be there"));
  CHECK_THAT(error("prompt\ttarget\tsubject\na\tb\tc\n"), Contains("the subject 'c' does not stand in the prompt 'a'"));
  CHECK_THAT(error("target\nb\n"), Contains(path + ":1: the header names no column 'prompt'"));
  std::remove(path.c_str());
}

TEST_CASE("an edit that cannot be is refused") {
  const Model model = mamba("f64", bytes);
  const Statistics preserve = preserved(model);
  CHECK_THAT(small::error_of([&] {
               edit(model, some_facts(), preserve, {{"epsilon", 1e-15}});
             }),
             Contains("leaves no null space"));
  CHECK_THAT(small::error_of([&] {
               edit(model, some_facts(), preserve, {{"sites", "*.conv1d"}});
             }),
             Contains("facts are written into kind:linear"));
  CHECK_THAT(small::error_of([&] { edit(mamba("f64"), some_facts(), preserve, Json::object()); }),
             Contains("no embedding of 256"));
  CHECK_THAT(small::error_of([&] {
               edit(model, some_facts(), preserve, {{"sites", "layer:0&role:out_proj"}});
             }),
             Contains("the statistics have nothing of site"));
}

}  // namespace colonnade::alphaedit
