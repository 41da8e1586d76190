#include "colonnade/tensor/calibration.h"

#include <algorithm>
#include <functional>

#include "colonnade/error.h"
#include "colonnade/tensor/examples.h"

namespace colonnade {

namespace {

// Which `samples` of `available` are taken, in batches.
std::vector<Batch> in_batches(std::int64_t available, std::int64_t samples, std::int64_t at_once,
                              const std::function<Batch(const std::vector<std::int64_t>&)>& batch_of) {
  const std::int64_t taken = std::min(available, samples);
  std::vector<Batch> batches;
  for (std::int64_t first = 0; first < taken; first += at_once) {
    std::vector<std::int64_t> chosen;
    for (std::int64_t i = first; i < std::min(taken, first + at_once); ++i) chosen.push_back(i * available / taken);
    batches.push_back(batch_of(chosen));
  }
  return batches;
}

}  // namespace

Param samples_param(std::int64_t fall_back) {
  return integer("samples", "how much of the data is looked at, spread evenly over it: windows of a text, or examples")
      .range(1, std::nullopt)
      .fall_back(fall_back);
}

Param length_param() {
  constexpr std::int64_t usual_length = 256;
  return integer("length", "tokens in a window of a text").range(1, std::nullopt).fall_back(usual_length);
}

std::vector<Batch> calibration_batches(const Field& data, std::int64_t samples, std::int64_t length,
                                       at::ScalarType type, std::int64_t at_once) {
  if (data.type == "examples") {
    const Examples examples = examples_from(data);
    return in_batches(examples.count(), samples, at_once,
                      [&](const std::vector<std::int64_t>& chosen) { return examples.batch(chosen, type); });
  }
  if (data.type != "tokens") {
    throw Error(ErrorKind::input,
                "the data is of type '" + data.type + "'; allowed: a text (tokens) or a set of examples (examples)");
  }
  const Tokens text = tokens_from(data);
  const std::int64_t windows = (text.count() - 1) / length;
  if (windows < 1) {
    throw Error(ErrorKind::input, "the text has " + std::to_string(text.count()) + " tokens; a window of length " +
                                      std::to_string(length) + " needs at least " + std::to_string(length + 1));
  }
  return in_batches(windows, samples, at_once, [&](std::vector<std::int64_t> starts) {
    for (std::int64_t& start : starts) start *= length;
    return window_batch(text, starts, length);
  });
}

std::vector<Batch> calibration_batches(const OpContext& context, const std::string& role, at::ScalarType type) {
  return calibration_batches(context.input(role), context.param<std::int64_t>("samples"),
                             context.param<std::int64_t>("length"), type);
}

}  // namespace colonnade
