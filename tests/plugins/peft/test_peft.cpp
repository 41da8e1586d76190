#include <catch2/catch.hpp>

#include "tests/support/plugins.h"
#include "tests/support/small_model.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade {

namespace {

using Catch::Matchers::Contains;

void register_all() {
  register_linked_plugin(colonnade_plugin);
  for (const char* name : {"mask", "lora", "ia3", "perplexity"}) load_plugin(name);
}

Field importances(const std::vector<std::pair<std::string, double>>& rows) {
  Table table;
  table.add_column("site", "text");
  table.add_column("importance", "real");
  table.add_column("measure", "text");
  for (const auto& [site, value] : rows) table.add_row({site, value, "mean sigma(L)"});
  return to_field(table);
}

// Descending in the model's order over linears, convolutions and norms.
Field descending() {
  register_all();
  std::vector<std::pair<std::string, double>> rows;
  double value = 0.9;
  const Model model = small::make();
  for (const SiteSpec& site : model.sites()) {
    const bool norm = site.name.find("norm") != std::string::npos;
    if (site.kind == SiteKind::linear || site.kind == SiteKind::conv1d || norm)
      rows.emplace_back(site.name, value -= 0.05);
  }
  return importances(rows);
}

struct Allocated {
  Value value;
  std::vector<std::string> log;
  Table table() const { return table_from(value.at("allocation")); }
  Model model() const { return Model::from_field(value.at("model")); }
  std::string choice(const std::string& site) const {
    const Table all = table();
    for (std::size_t row = 0; row < all.rows(); ++row) {
      if (all.column("site").cells[row] == site) return all.column("choice").cells[row].get<std::string>();
    }
    return "";
  }
  double scalar(const std::string& name) const { return scalar_from(value.at(name)).value; }
};

Allocated allocate(Json params, const std::optional<Field>& scores, const Model& model = small::make(),
                   std::uint64_t seed = 0) {
  register_all();
  Allocated result;
  RunRequest request;
  request.op = "peft/peft";
  request.params = std::move(params);
  request.inputs = {{"model", model.to_field()}};
  if (scores) request.inputs.emplace_back("importance", *scores);
  request.seed = seed;
  request.log = [&](const std::string& line) { result.log.push_back(line); };
  result.value = run_op(request);
  return result;
}

}  // namespace

TEST_CASE("adapters follow the allocation, everything else is frozen, every decision is logged") {
  const Allocated result = allocate({{"strong", {{"op", "lora/lora"}, {"params", {{"rank", 2}}}}}}, descending());
  // 11 sites: 3 tuned, 2 strong; the first is a norm, where a low-rank update has no place.
  CHECK(result.choice("layers.0.norm") == "ia3");
  CHECK(result.choice("layers.0.in_proj") == "lora");
  CHECK(result.choice("layers.0.conv1d") == "ia3");
  CHECK(result.choice("layers.0.x_proj") == "frozen");
  CHECK(result.scalar("strong_count") == 1);
  CHECK(result.scalar("light_count") == 2);
  Model model = result.model().mutable_copy();
  CHECK(model.adapters().size() == 3);
  const std::int64_t trainable = small::width + 2 * (2 * small::channels + small::width) + small::channels;
  CHECK(model.counts().trainable == trainable);
  CHECK(model.parameters().size() == 4);
  REQUIRE(result.log.size() == 12);
  CHECK(result.log[0] == "layers.0.norm: 0.8500 (mean sigma(L)) -> ia3");
  CHECK(result.log[1] == "layers.0.in_proj: 0.8000 (mean sigma(L)) -> lora");
  CHECK(result.log[10] == "norm_f: 0.3500 (mean sigma(L)) -> frozen");
  const auto all = model.counts().all;
  char percent[32];
  std::snprintf(percent, sizeof percent, "%.3f%%", 100.0 * static_cast<double>(trainable) / static_cast<double>(all));
  CHECK(result.log[11] == "Trainable params: " + std::to_string(trainable) + " || all params: " + std::to_string(all) +
                              " || trainable%: " + percent);
  CHECK(result.scalar("trainable_percent") ==
        Approx(100.0 * static_cast<double>(trainable) / static_cast<double>(all)));
}

TEST_CASE("a model's own masks score it, and stay as they are") {
  register_all();
  Model masked =
      small::run_model("mask/mask", {{"sites", "kind:linear,kind:conv1d,*norm*"}}, small::make()).mutable_copy();
  small::randomise_adapters(masked, 5);
  const Allocated own = allocate(Json::object(), std::nullopt, masked);
  const Value scores = small::run("mask/importance", Json::object(), {{"model", masked.to_field()}});
  const Allocated given = allocate(Json::object(), scores.at("importance"), masked);
  CHECK(own.value.at("allocation").content_hash() == given.value.at("allocation").content_hash());
  CHECK_THAT(own.log.front(), Contains("(mean sigma(L)) -> "));
  Model model = own.model().mutable_copy();
  for (const Parameter& parameter : model.parameters()) CHECK_THAT(parameter.name, !Contains("logits"));
}

TEST_CASE("the other policies") {
  const Field scores = descending();
  const auto count = [&](const Json& params) {
    const Allocated result = allocate(params, scores);
    return std::pair(result.scalar("strong_count"), result.scalar("light_count"));
  };
  const auto pair = [](double strong, double light) { return std::pair(strong, light); };
  CHECK(count({{"policy", "rest-light"}, {"importance_threshold", 0.3}}) == pair(2, 9));
  CHECK(count({{"policy", "rest-ia3"}, {"importance_threshold", 0.3}}) == pair(2, 9));
  CHECK(count({{"policy", "uniform-strong"}}) == pair(8, 0));
  CHECK(count({{"policy", "uniform-light"}}) == pair(0, 11));
  CHECK(count({{"policy", "strong-only-on"}, {"strong_sites", "*.x_proj"}}) == pair(2, 0));
  CHECK(count({{"unit", "layer"}, {"peft_application_ratio", 0.34}, {"importance_threshold", 1.0}}) == pair(4, 1));
  CHECK(count({{"order", "random"}}).first + count({{"order", "random"}}).second == 3);
}

TEST_CASE("large counts are logged with separators") {
  const Json strong = {{"op", "lora/lora"}, {"params", {{"rank", 64}}}};
  const Allocated result = allocate({{"policy", "uniform-strong"}, {"strong", strong}}, std::nullopt);
  std::string digits = std::to_string(result.model().counts().all);
  REQUIRE(digits.size() > 3);
  digits.insert(digits.size() - 3, ",");
  CHECK_THAT(result.log.back(), Contains(" || all params: " + digits + " || "));
}

TEST_CASE("a random order depends on the seed alone") {
  const auto table = [](std::uint64_t seed) {
    return allocate({{"order", "random"}}, std::nullopt, small::make(), seed).value.at("allocation").content_hash();
  };
  CHECK(table(1) == table(1));
  CHECK(table(1) != table(2));
}

TEST_CASE("what is wrong with importances is said by name") {
  const auto message = [](const Json& params, const std::optional<Field>& scores) {
    return small::error_of([&] { allocate(params, scores); });
  };
  CHECK_THAT(message(Json::object(), importances({{"layers.0.norm", 0.5}})),
             Contains("10 of 11 sites have no importance, the first is 'layers.0.in_proj'; score them"));
  CHECK_THAT(message(Json::object(), std::nullopt), Contains("the model has none; attach some with `mask`"));
  CHECK_THAT(message(Json::object(), importances({{"a", std::nan("")}})),
             Contains("the importance of site 'a' is no finite number"));
  CHECK_THAT(message(Json::object(), importances({{"a", 1.0}, {"a", 2.0}})), Contains("names site 'a' twice"));
  Table wrong;
  wrong.add_column("site", "text");
  CHECK_THAT(message(Json::object(), to_field(wrong)), Contains("the table has no column 'importance'"));
  CHECK_THAT(message({{"policy", "strong-only-on"}}, descending()), Contains("needs `strong_sites`"));
  CHECK_THAT(message({{"strong", {{"op", "lora/lora"}, {"params", {{"rnak", 2}}}}}}, descending()),
             Contains("did you mean 'rank'"));
  const Allocated some = allocate({{"unscored", "frozen"}, {"peft_application_ratio", 1.0}},
                                  importances({{"layers.0.in_proj", 0.5}, {"layers.0.conv1d", 0.4}}));
  CHECK(some.scalar("strong_count") == 1);
  CHECK(some.scalar("light_count") == 1);
  CHECK(some.log[0] == "layers.0.norm: no importance -> frozen");
}

TEST_CASE("merging keeps the function and takes what governs masks along") {
  register_all();
  Model model = small::run_model("mask/mask", {{"sites", "kind:linear"}}, small::make());
  model = small::run_model("lora/lora", {{"sites", "kind:linear,embedding"}, {"rank", 2}}, model);
  model = small::run_model("ia3/ia3", Json::object(), model).mutable_copy();
  small::randomise_adapters(model, 6);
  const Tensor before = model.forward(small::batch());
  const Value value = small::run("peft/merge", Json::object(), {{"model", model.to_field()}});
  const Model merged = Model::from_field(value.at("model"));
  CHECK(merged.adapters().empty());
  CHECK(merged.hooks().empty());
  CHECK(small::relative_error(merged.forward(small::batch()), before) < 1e-11);
  const Table report = table_from(value.at("report"));
  CHECK(report.rows() == 12);
  CHECK(report.column("adapters").cells[0] == "lora/lora@1");
  CHECK(merged.mutable_copy().parameters().empty());

  const Value part =
      small::run("peft/merge", {{"sites", "embedding"}, {"trainable", true}}, {{"model", model.to_field()}});
  Model partly = Model::from_field(part.at("model")).mutable_copy();
  CHECK(partly.hooks().size() == 1);
  CHECK(partly.adapters().size() == model.adapters().size() - 1);
  CHECK(small::relative_error(partly.forward(small::batch()), before) < 1e-11);
  CHECK(partly.parameters().size() > partly.sites().size());
}

TEST_CASE("scales on a masked site with a reference need densify") {
  register_all();
  Model base = small::make();
  SiteWeight& weight = base.writable("layers.0.in_proj");
  set_reference(weight, weight.sparse * 0.5);
  apply_mask(weight, random_uniform(RandomStream(1), weight.sparse.sizes(), at::kDouble) < 0.5);
  Model model = small::run_model("ia3/ia3", {{"sites", "layers.0.in_proj"}}, base).mutable_copy();
  small::randomise_adapters(model, 6);
  const small::Inputs inputs = {{"model", model.to_field()}};
  CHECK_THAT(small::error_of([&] { small::run("peft/merge", Json::object(), inputs); }),
             Contains("site 'layers.0.in_proj': ") && Contains("densify = true"));
  const Value value = small::run("peft/merge", {{"densify", true}}, inputs);
  CHECK(table_from(value.at("report")).column("gave_up_mask").cells[0] == true);
  const Model merged = Model::from_field(value.at("model"));
  CHECK(small::relative_error(merged.forward(small::batch()), model.forward(small::batch())) < 1e-11);
}

TEST_CASE("allocations are the same where every site has the same choice") {
  const auto table = [](const std::vector<std::pair<std::string, std::string>>& rows) {
    Table allocation;
    allocation.add_column("site", "text");
    allocation.add_column("importance", "real");
    allocation.add_column("choice", "text");
    double importance = 0.1;
    for (const auto& [site, choice] : rows) allocation.add_row({site, importance *= 1.5, choice});
    return to_field(allocation);
  };
  register_all();
  const small::Inputs inputs = {{"of", table({{"a", "lora"}, {"b", "ia3"}, {"c", "frozen"}})},
                                {"of", table({{"a", "ia3"}, {"b", "lora"}, {"c", "frozen"}})},
                                {"of", table({{"c", "frozen"}, {"b", "ia3"}, {"a", "lora"}})},
                                {"of", table({{"a", "lora"}, {"b", "ia3"}})}};
  const Value value = small::run("peft/allocations", {{"names", {"one", "two", "three", "four"}}}, inputs);
  CHECK(scalar_from(value.at("distinct")).value == 3);
  CHECK(scalar_from(value.at("distinct")).n == 4);
  const Table all = table_from(value.at("by_arm"));
  CHECK(all.column("arm").cells == Json({"one", "two", "three", "four"}));
  CHECK(all.column("allocation").cells == Json({1, 2, 1, 3}));
  CHECK(all.column("sites").cells[2] == "frozen 1, ia3 1, lora 1");
  CHECK_THAT(small::error_of([&] {
               small::run("peft/allocations", {{"names", {"one"}}}, inputs);
             }),
             Contains("there are 4 allocations and 1 names; allowed: a name for each"));
}

TEST_CASE("a contribution is the metric's change with that adapter off") {
  register_all();
  Model model = small::run_model("lora/lora", {{"sites", "*.x_proj"}}, small::make());
  model = small::run_model("ia3/ia3", {{"sites", "layers.1.x_proj,norm_f"}}, model).mutable_copy();
  small::randomise_adapters(model, 6);
  const Json metric = {{"op", "perplexity/perplexity"}, {"params", {{"length", 20}}}};
  const Field text = to_field(small::text(100));
  const auto nats = [&](const Model& of) {
    const Value value =
        small::run("perplexity/perplexity", {{"length", 20}}, {{"model", of.to_field()}, {"data", text}});
    return scalar_from(value.at("nats")).value;
  };
  const Value value = small::run("peft/contribution", {{"metric", metric}, {"field", "nats"}},
                                 {{"model", model.to_field()}, {"data", text}});
  const Table table = table_from(value.at("contribution"));
  CHECK(scalar_from(value.at("whole")).value == nats(model));
  REQUIRE(table.rows() == 4);
  for (std::size_t row = 0; row < table.rows(); ++row) {
    Model without = model.mutable_copy();
    without.detach(table.column("site").cells[row], table.column("adapter").cells[row]);
    CHECK(without.adapters().size() == 3);
    CHECK(table.column("change").cells[row].get<double>() == Approx(nats(without) - nats(model)).margin(1e-12));
    CHECK(table.column("change").cells[row].get<double>() != 0);
  }
  const Value first =
      small::run("peft/contribution", {{"metric", metric}}, {{"model", model.to_field()}, {"data", text}});
  CHECK(scalar_from(first.at("whole")).value == Approx(std::exp(nats(model))));
  CHECK_THAT(
      small::error_of([&] {
        small::run("peft/contribution", {{"metric", metric}}, {{"model", small::make().to_field()}, {"data", text}});
      }),
      Contains("the model has no adapter"));
}

}  // namespace colonnade
