// Measures against the loops that define them, and from training to measures on drawn pictures.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <set>

#include "colonnade/error.h"
#include "colonnade/pictures.h"
#include "colonnade/plugin.h"
#include "colonnade/run_op.h"
#include "colonnade/tensor/examples.h"
#include "colonnade/tensor/model.h"
#include "plugins/vision/embed.h"
#include "plugins/vision/filter.h"
#include "plugins/vision/measures.h"
#include "tests/support/plugins.h"

extern "C" {
extern const colonnade::PluginDescriptor colonnade_plugin;
}

namespace colonnade::vision {
namespace {

using Catch::Contains;

TEST_CASE("ranks count what is at least as high, ties against the model") {
  const Tensor scores = at::round(random_normal(RandomStream(3), {40, 7}, at::kDouble) * 2);
  const Tensor targets = at::floor(random_uniform(RandomStream(4), {40}, at::kDouble) * 7).to(at::kLong);
  const Tensor right = random_uniform(RandomStream(5), {40, 7}, at::kDouble) > 0.6;
  const Tensor found = ranks(scores, targets), best = best_ranks(scores, right);
  for (std::int64_t row = 0; row < 40; ++row) {
    const auto score = [&](std::int64_t column) { return scores[row][column].item<double>(); };
    std::int64_t expected = 0, better = 0;
    double highest = -INFINITY;
    const auto target = targets[row].item<std::int64_t>();
    for (std::int64_t c = 0; c < 7; ++c) {
      expected += c != target && score(c) >= score(target);
      if (right[row][c].item<bool>()) highest = std::max(highest, score(c));
    }
    for (std::int64_t c = 0; c < 7; ++c) better += !right[row][c].item<bool>() && score(c) >= highest;
    CHECK(found[row].item<std::int64_t>() == expected);
    CHECK(best[row].item<std::int64_t>() == better);
  }
  CHECK(ranks(at::zeros({2, 5}), at::zeros({2}, at::kLong)).equal(at::full({2}, 4, at::kLong)));
}

TEST_CASE("scores that are no numbers earn nothing") {
  const Tensor none = at::full({2, 5}, NAN), first = at::arange(5).eq(0).expand({2, 5});
  CHECK(ranks(none, at::zeros({2}, at::kLong)).equal(at::full({2}, 4, at::kLong)));
  CHECK(best_ranks(none, first).equal(at::full({2}, 4, at::kLong)));
  const Tensor some = at::tensor(std::vector<double>{NAN, 3, 2, 1}).reshape({1, 4});
  CHECK(ranks(some, at::full({1}, 1, at::kLong)).item<std::int64_t>() == 1);
  CHECK(best_ranks(some, at::tensor(std::vector<int>{1, 1, 0, 0}).reshape({1, 4}).eq(1)).item<std::int64_t>() == 0);
  CHECK(best_ranks(some, at::tensor(std::vector<int>{0, 1, 0, 0}).reshape({1, 4}).eq(1)).item<std::int64_t>() == 1);
}

TEST_CASE("a mean comes with its standard error and its values") {
  const Scalar scalar = mean_of({1, 2, 6}, "%", Better::higher);
  CHECK(scalar.value == Approx(3));
  CHECK(scalar.n == 3);
  CHECK(*scalar.standard_error == Approx(std::sqrt(7.0 / 3)));
  CHECK(scalar.per_example.size() == 3);
  CHECK_FALSE(mean_of({4}, "%", Better::higher).standard_error);
}

TEST_CASE("CLIPScore is 2.5 times what is above 0 of the cosine") {
  const std::vector<double> scores = to_vector(clip_scores(at::tensor(std::vector<double>{-0.5, 0, 0.2, 1})));
  CHECK(scores == std::vector<double>{0, 0, 0.5, 2.5});
}

/// Squares of one of three colours in one of three places, named by both.
Pictures drawn(int copies) {
  const std::vector<std::string> colours = {"red", "green", "blue"}, places = {"left", "middle", "right"};
  constexpr std::int64_t kSide = 12;
  std::vector<std::uint8_t> pixels;
  Pictures set;
  for (int i = 0; i < 9 * copies; ++i) {
    const int colour = i % 3, place = i / 3 % 3;
    for (int channel = 0; channel < 3; ++channel) {
      for (int y = 0; y < kSide; ++y) {
        for (int x = 0; x < kSide; ++x) {
          const bool inside = x / 4 == place && y >= 4 && y < 8;
          const int noise = static_cast<int>(RandomStream(9).below(static_cast<std::uint64_t>(pixels.size()), 40));
          pixels.push_back(static_cast<std::uint8_t>(inside && channel == colour ? 215 + noise : noise));
        }
      }
    }
    set.labels.push_back(colour);
    set.texts.push_back(
        {"a " + colours[static_cast<size_t>(colour)] + " square " + places[static_cast<size_t>(place)], i, place});
  }
  set.pixels = Blob::of(DType::u8, pixels, {9 * copies, 3, kSide, kSide});
  set.classes = colours;
  set.answers = places;
  set.mean = set.deviation = {0.5, 0.5, 0.5};
  set.split = "train";
  return set;
}

Value run(const std::string& op, const Json& params, std::vector<std::pair<std::string, Field>> inputs) {
  register_linked_plugin(colonnade_plugin);
  load_plugin("clip");
  load_plugin("train");
  RunRequest request;
  request.op = op;
  request.params = params;
  request.inputs = std::move(inputs);
  request.seed = 1;
  return run_op(request);
}

double number(const Value& value, const std::string& field) {
  return scalar_from(value.at(field)).value;
}

/// What the tests share; made once, since it trains.
struct Bench {
  Field tokenizer, pairs, classes, questions, fresh, trained, tuned;

  Bench() {
    at::set_num_threads(1);  // so small a model gains nothing by more
    const Field pictures = to_field(drawn(4));
    tokenizer = run("clip/tokenizer", Json::object(), {}).at("tokenizer");
    const auto examples = [&](const char* op, Json params) {
      params["length"] = 24;
      return run(std::string("clip/") + op, params, {{"pictures", pictures}, {"tokenizer", tokenizer}}).at("examples");
    };
    pairs = examples("pairs", Json::object());
    classes = examples("classes", {{"templates", {"a {} square left", "a {} square right"}}});
    questions = examples("questions", {{"template", "{question} {answer}"}});
    const Json sizes = {{"picture", 12},    {"patch", 4},         {"vocabulary", 514},
                        {"length", 24},     {"text_width", 32},   {"vision_width", 32},
                        {"text_layers", 1}, {"vision_layers", 1}, {"dimensions", 16}};
    fresh = run("clip/clip", sizes, {}).at("model");
    const Json training = {{"steps", 300}, {"batch", 12}, {"learning_rate", 3e-3}, {"log_every", 1000}};
    trained = run("train/train", training, {{"model", fresh}, {"data", pairs}, {"valid", pairs}}).at("model");
    tuned = run("train/train", {{"steps", 150}, {"batch", 12}, {"learning_rate", 3e-3}, {"log_every", 1000}},
                {{"model", fresh}, {"data", classes}})
                .at("model");
  }
};

const Bench& bench() {
  static const Bench instance;
  return instance;
}

TEST_CASE("contrastive training from scratch makes pictures and captions find each other") {
  const Value before = run("vision/retrieval", Json::object(), {{"model", bench().fresh}, {"data", bench().pairs}});
  const Value after = run("vision/retrieval", Json::object(), {{"model", bench().trained}, {"data", bench().pairs}});
  // Every caption stands for four pictures, of which one counts as its own.
  CHECK(number(before, "text_r10") < 60);
  CHECK(number(after, "text_r5") > 90);
  CHECK(number(after, "picture_r5") > 90);
  CHECK(scalar_from(after.at("picture_r1")).n == 36);
}

TEST_CASE("tuning on classes makes their pictures recognised") {
  const Value after = run("vision/zero_shot", Json::object(), {{"model", bench().tuned}, {"data", bench().classes}});
  CHECK(number(after, "top1") == 100);
  CHECK(number(after, "top5") == 100);
  const Table table = table_from(after.at("by_class"));
  CHECK(table.rows() == 3);
  CHECK(table.column("pictures").cells[1] == 12);
  CHECK(after.at("templates").document.at("templates").size() == 2);
  CHECK(scalar_from(after.at("top1")).per_example.size() == 36);
}

TEST_CASE("zero-shot classes are those of the model's own logits") {
  const Model model = Model::from_field(bench().trained);
  const Examples data = examples_from(bench().classes);
  std::vector<std::int64_t> all;
  for (std::int64_t i = 0; i < data.count(); ++i) all.push_back(i);
  const Batch batch = data.batch(all);
  const Tensor right = model.forward(batch).argmax(1).eq(batch.at("targets"));
  const Value measured =
      run("vision/zero_shot", Json::object(), {{"model", bench().trained}, {"data", bench().classes}});
  CHECK(number(measured, "top1") == Approx(100 * right.to(at::kDouble).mean().item<double>()));
}

TEST_CASE("questions are answered by the nearest text, as the model alone would say") {
  const Model model = Model::from_field(bench().trained);
  const Examples data = examples_from(bench().questions);
  const Value measured =
      run("vision/answers", Json::object(), {{"model", bench().trained}, {"data", bench().questions}});
  int right = 0;
  for (std::int64_t i = 0; i < data.count(); ++i) {
    const Batch batch = data.batch({i});
    const auto question = batch.at("question")[0].item<std::int64_t>();
    const Tensor logits =
        model.forward({{{"pixels", batch.at("pixels")}, {"ids", batch.at("ids").narrow(0, 3 * question, 3)}}});
    right += logits.argmax(1).eq(batch.at("targets")).item<bool>();
  }
  CHECK(number(measured, "accuracy") == Approx(100.0 * right / static_cast<double>(data.count())));
}

TEST_CASE("chosen captions are scored by another model") {
  const std::vector<std::pair<std::string, Field>> inputs = {
      {"model", bench().trained}, {"data", bench().pairs}, {"scorer", bench().trained}, {"scored", bench().pairs}};
  const Value chosen = run("vision/captions", Json::object(), inputs);
  const Value own = run("vision/clip_score", Json::object(), {{"scorer", bench().trained}, {"data", bench().pairs}});
  // By its own judgement a model's choice is no worse than the given captions.
  CHECK(number(chosen, "score") >= number(own, "score") - 1e-6);
  CHECK(number(own, "score") > 1);
  CHECK(number(chosen, "own") > 20);
}

TEST_CASE("the highest scores are kept, of equal ones the first, in the order of the examples") {
  const std::vector<double> scores = {0.9, 0.1, 0.8, 0.9, 0.7, 0.9};
  CHECK(highest(scores, 0.7, 10) == std::vector<std::int64_t>{0, 2, 3, 5});
  CHECK(highest(scores, 0.7, 2) == std::vector<std::int64_t>{0, 3});
  CHECK(highest(scores, -1, 5) == std::vector<std::int64_t>{0, 2, 3, 4, 5});
  CHECK(highest(scores, 0.9, 5).empty());
}

TEST_CASE("a subset takes the chosen examples' rows, and those of no other") {
  Examples data;
  data.rows["pixels"] = at::arange(5, at::kInt).reshape({5, 1});
  data.rows["ids"] = at::arange(6, at::kInt).reshape({6, 1}) * 10;
  data.index["pixels"] = at::tensor({4, 0, 0, 3, 1, 3}, at::TensorOptions().dtype(at::kInt));
  const Examples some = subset(data, {0, 3, 5});
  CHECK(some.count() == 3);
  CHECK(some.rows.at("pixels").size(0) == 2);
  const Batch before = data.batch({0, 3, 5}), after = some.batch({0, 1, 2});
  CHECK(at::equal(before.at("pixels"), after.at("pixels")));
  CHECK(at::equal(before.at("ids"), after.at("ids")));
}

TEST_CASE("filtering by a scorer raises the mean score, and refuses what is no more the same pairs") {
  const auto filtered = [](const Field& scored, const Json& params) {
    return run("vision/filter", params, {{"data", bench().pairs}, {"scorer", bench().trained}, {"scored", scored}});
  };
  const auto score = [](const Field& pairs) {
    return scalar_from(
        run("vision/clip_score", Json::object(), {{"scorer", bench().trained}, {"data", pairs}}).at("score"));
  };
  const Scalar all = score(bench().pairs);
  const Value kept = filtered(bench().pairs, {{"above", -1.0}, {"best", 9}});
  CHECK(number(kept, "kept") == 25);
  CHECK(number(kept, "score") == all.value);
  std::vector<double> sorted = all.per_example;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  double best = 0;
  for (int i = 0; i < 9; ++i) best += sorted[static_cast<std::size_t>(i)] / 9;
  // Batches of other sizes may sum in another order.
  CHECK(score(kept.at("examples")).value == Approx(best).epsilon(1e-5));
  CHECK_THROWS_WITH(filtered(bench().pairs, {{"above", 2.5}}), Contains("no pair scores above 2.5"));
  CHECK_THROWS_WITH(filtered(kept.at("examples"), Json::object()), Contains("9 pairs and 'data' 36"));
}

TEST_CASE("data of another kind is refused with the op that makes the right one") {
  const auto message = [&](const std::string& op, const Field& data) -> std::string {
    try {
      run(op, Json::object(), {{"model", bench().fresh}, {"data", data}});
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  CHECK_THAT(message("vision/zero_shot", bench().pairs), Contains("'targets'") && Contains("'classes'"));
  CHECK_THAT(message("vision/answers", bench().classes), Contains("'question'") && Contains("'questions'"));
  CHECK_THAT(message("vision/retrieval", bench().classes), Contains("'ids'") && Contains("'pairs'"));
}

TEST_CASE("examples come back from the store's form, and mistakes in them are named") {
  Examples examples = examples_from(bench().pairs);
  const Batch batch = examples.batch({3, 0});
  CHECK(batch.at("pixels").sizes() == at::IntArrayRef({2, 3, 12, 12}));
  const Tensor bytes = examples.rows.at("pixels")[3].to(at::kFloat);
  CHECK((batch.at("pixels")[0] - (bytes / 255 - 0.5) / 0.5).abs().max().item<double>() < 1e-6);
  CHECK_THROWS_WITH(examples.batch({36}), Contains("no example 36 among 36"));
  examples.index["pixels"] = at::full({36}, 99, at::kInt);
  CHECK_THROWS_WITH(to_field(examples), Contains("row 99 of 36"));
  examples.index["pixels"] = at::zeros({35}, at::kInt);
  CHECK_THROWS_WITH(to_field(examples), Contains("35 examples") || Contains("36 examples"));
}

TEST_CASE("drawn examples are different ones, each as often as any") {
  std::vector<int> counts(7, 0);
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const auto drawn = draw_examples(RandomStream(1).at(i), 7, 3);
    CHECK(std::set<std::int64_t>(drawn.begin(), drawn.end()).size() == 3);
    ++counts[static_cast<size_t>(drawn[1])];
  }
  // Five standard deviations of a count of 2000/7.
  for (const int count : counts) CHECK(std::abs(count - 2000.0 / 7) < 5 * std::sqrt(2000.0 / 7 * 6 / 7));
  CHECK(draw_examples(RandomStream(2), 3, 10).size() == 3);
}

}  // namespace
}  // namespace colonnade::vision
