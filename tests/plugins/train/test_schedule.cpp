#include <catch2/catch.hpp>

#include "plugins/train/trainer.h"
#include "tests/support/small_model.h"

namespace colonnade {

namespace {

TrainOptions options(const std::string& schedule, std::int64_t steps, std::int64_t warmup) {
  TrainOptions result;
  result.schedule = schedule;
  result.steps = steps;
  result.warmup = warmup;
  result.learning_rate = 0.8;
  result.final_fraction = 0.25;
  return result;
}

}  // namespace

TEST_CASE("the learning rate rises linearly, then falls along half a cosine to its final share") {
  const TrainOptions cosine = options("cosine", 9, 4);
  // 4 steps of warm-up; then 5 steps at progress 0, 1/4, 1/2, 3/4, 1 with (1 + cos) / 2 = 1, 0.853553, 0.5, 0.146447,
  // 0.
  const double expected[] = {0.2, 0.4, 0.6, 0.8, 0.8, 0.8 * 0.8901650429, 0.8 * 0.625, 0.8 * 0.3598349571, 0.2};
  for (std::int64_t step = 0; step < 9; ++step)
    CHECK(learning_rate_at(cosine, step) == Approx(expected[step]).epsilon(1e-9));
}

TEST_CASE("a constant schedule stays at its height after the warm-up") {
  const TrainOptions constant = options("constant", 5, 2);
  CHECK(learning_rate_at(constant, 0) == Approx(0.4));
  for (std::int64_t step = 1; step < 5; ++step) CHECK(learning_rate_at(constant, step) == 0.8);
}

TEST_CASE("schedules of one step and warm-ups longer than the training are defined") {
  CHECK(learning_rate_at(options("cosine", 1, 0), 0) == 0.8);
  CHECK(learning_rate_at(options("cosine", 3, 8), 2) == Approx(0.3));
}

TEST_CASE("an evaluation is the mean over windows spread over the whole text, whatever the batch") {
  const Model model = small::make();
  const Tokens text = small::text(100);
  // last = 100 - 9 - 1 = 90: three windows at 0, 45 and 90.
  double sum = 0;
  for (const std::int64_t start : {0, 45, 90}) sum += model.loss(window_batch(text, {start}, 9)).item<double>();
  for (const std::int64_t batch : {1, 2, 5})
    CHECK(evaluate_nats(model, text, 9, 3, batch) == Approx(sum / 3).epsilon(1e-12));
  // No more windows than fit side by side: 99 / 9 = 11.
  CHECK(evaluate_nats(model, text, 9, 1000, 4) == Approx(evaluate_nats(model, text, 9, 11, 4)).epsilon(1e-12));
  CHECK(evaluate_nats(model, text, 99, 5, 4) ==
        Approx(model.loss(window_batch(text, {0}, 99)).item<double>()).epsilon(1e-12));
}

}  // namespace colonnade
