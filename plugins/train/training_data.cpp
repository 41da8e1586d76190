#include "training_data.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "colonnade/error.h"

namespace colonnade {

namespace {

constexpr std::int64_t fewest_examples = 2;

// `count` numbers below `all`, spread evenly.
std::vector<std::int64_t> spread(std::int64_t all, std::int64_t count) {
  std::vector<std::int64_t> numbers;
  for (std::int64_t i = 0; i < count; ++i) numbers.push_back(i * all / count);
  return numbers;
}

double evaluate_examples(const Model& model, const Examples& examples, std::int64_t count, std::int64_t size) {
  at::NoGradGuard guard;
  const std::int64_t each = std::min(size, examples.count());
  const std::int64_t batches = std::max<std::int64_t>(1, std::min(count, examples.count()) / each);
  const std::vector<std::int64_t> chosen = spread(examples.count(), batches * each);
  double sum = 0;
  for (std::int64_t batch = 0; batch < batches; ++batch) {
    // Every batches-th: neighbours tend to be alike.
    std::vector<std::int64_t> rows;
    for (std::int64_t i = batch; i < batches * each; i += batches) rows.push_back(chosen[static_cast<std::size_t>(i)]);
    sum += model.loss(examples.batch(rows, model.dtype())).item<double>();
  }
  return sum / static_cast<double>(batches);
}

}  // namespace

TrainingData TrainingData::from_field(const Field& field, const std::string& role, std::int64_t length) {
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::input, "the input '" + role + "' " + what);
  };
  if (field.type == "examples") {
    Examples examples = examples_from(field);
    if (examples.count() < fewest_examples)
      refuse("has " + std::to_string(examples.count()) + " examples; training takes at least " +
             std::to_string(fewest_examples));
    return TrainingData(std::move(examples));
  }
  if (field.type != "tokens") refuse("is of type '" + field.type + "'; allowed: 'tokens', 'examples'");
  Tokens tokens = tokens_from(field);
  if (tokens.count() <= length) {
    refuse("has " + std::to_string(tokens.count()) + " tokens; windows of length " + std::to_string(length) +
           " need at least " + std::to_string(length + 1));
  }
  return TrainingData(std::move(tokens));
}

Batch TrainingData::batch(const RandomStream& random, std::int64_t index, std::int64_t size, std::int64_t length,
                          at::ScalarType type) const {
  if (const auto* examples = std::get_if<Examples>(&source_)) {
    return examples->batch(draw_examples(random.at(static_cast<std::uint64_t>(index)), examples->count(), size), type);
  }
  const Tokens& tokens = std::get<Tokens>(source_);
  const auto positions = static_cast<std::uint64_t>(tokens.count() - length);
  const auto first = static_cast<std::uint64_t>(index) * static_cast<std::uint64_t>(size);
  std::vector<std::int64_t> starts;
  for (std::int64_t row = 0; row < size; ++row) {
    starts.push_back(static_cast<std::int64_t>(random.below(first + static_cast<std::uint64_t>(row), positions)));
  }
  return window_batch(tokens, starts, length);
}

double TrainingData::evaluate(const Model& model, std::int64_t count, std::int64_t size, std::int64_t length) const {
  if (const auto* examples = std::get_if<Examples>(&source_)) return evaluate_examples(model, *examples, count, size);
  return evaluate_nats(model, std::get<Tokens>(source_), length, count, size);
}

double evaluate_nats(const Model& model, const Tokens& tokens, std::int64_t length, std::int64_t windows,
                     std::int64_t batch) {
  at::NoGradGuard guard;
  const std::int64_t last = tokens.count() - length - 1;
  const std::int64_t count = std::min(windows, last / length + 1);
  double sum = 0;
  for (std::int64_t first = 0; first < count; first += batch) {
    std::vector<std::int64_t> starts;
    for (std::int64_t i = first; i < std::min(first + batch, count); ++i)
      starts.push_back(count == 1 ? 0 : last * i / (count - 1));
    sum += model.loss(window_batch(tokens, starts, length)).item<double>() * static_cast<double>(starts.size());
  }
  return sum / static_cast<double>(count);
}

}  // namespace colonnade
