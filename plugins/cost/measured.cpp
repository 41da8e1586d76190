#include "measured.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "colonnade/error.h"
#include "colonnade/registry.h"
#include "colonnade/tensor/examples.h"
#include "colonnade/tensor/model.h"
#include "colonnade/tokens.h"

namespace colonnade {

namespace {

using Clock = std::chrono::steady_clock;

constexpr double milliseconds = 1e3;
constexpr std::int64_t warm_up = 2;
constexpr double tail = 0.95;
constexpr double bytes_in_kib = 1024;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Of this process, which a measured op has to itself.
double peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * bytes_in_kib;
}

Field measured_scalar(double value, std::int64_t n, const std::string& unit, Better better) {
  return to_field(Scalar{value, n, {}, unit, better, {}});
}

// Between the order statistics next to it, linearly.
double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  const double position = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const double above = values[std::min(below + 1, values.size() - 1)];
  return values[below] + (position - static_cast<double>(below)) * (above - values[below]);
}

Batch first_windows(const Tokens& tokens, std::int64_t rows, std::int64_t length) {
  if (tokens.count() < rows * length) {
    throw Error(ErrorKind::input, "the input 'data' has " + std::to_string(tokens.count()) +
                                      " tokens; batch * length needs " + std::to_string(rows * length));
  }
  Batch batch;
  batch.tensors["ids"] = to_tensor(tokens.ids).narrow(0, 0, rows * length).to(at::kLong).reshape({rows, length});
  return batch;
}

// What a model is given of examples: all of it, or one tensor alone.
Batch first_examples(const Examples& examples, std::int64_t rows, const std::string& only, at::ScalarType type) {
  if (examples.count() < rows) {
    throw Error(ErrorKind::input, "the input 'data' has " + std::to_string(examples.count()) +
                                      " examples; batch needs " + std::to_string(rows));
  }
  std::vector<std::int64_t> chosen(static_cast<std::size_t>(rows));
  std::iota(chosen.begin(), chosen.end(), 0);
  Batch batch = examples.batch(chosen, type);
  if (only.empty()) return batch;
  const auto found = batch.tensors.find(only);
  if (found != batch.tensors.end()) return {{{only, found->second}}};
  std::string names;
  for (const auto& [name, tensor] : batch.tensors) names += (names.empty() ? "'" : ", '") + name + "'";
  throw Error(ErrorKind::usage, "only = \"" + only + "\" is nothing that these examples have: " + names);
}

Value latency(OpContext& context) {
  at::NoGradGuard guard;
  const Model model = Model::from_field(context.input("model"));
  const Field& data = context.input("data");
  const auto rows = context.param<std::int64_t>("batch"), length = context.param<std::int64_t>("length");
  const auto repeats = context.param<std::int64_t>("repeats");
  const std::string only = context.has_param("only") ? context.param<std::string>("only") : "";
  const bool text = data.type != "examples";
  if (text && !only.empty()) throw Error(ErrorKind::usage, "'only' chooses from examples, and 'data' is a text");
  const Batch batch = text ? first_windows(tokens_from(data), rows, length)
                           : first_examples(examples_from(data), rows, only, model.dtype());
  std::vector<double> times;
  for (std::int64_t i = 0; i < warm_up + repeats; ++i) {
    const auto start = Clock::now();
    model.forward(batch);
    if (i >= warm_up) times.push_back(seconds_since(start));
    context.progress(i + 1, warm_up + repeats, "passes");
  }
  const double median = quantile(times, 0.5);
  const auto speed = [&](std::int64_t count) {
    return measured_scalar(static_cast<double>(count) / median, repeats, "1/s", Better::higher);
  };
  Value value;
  value.fields["median"] = measured_scalar(median * milliseconds, repeats, "ms", Better::lower);
  value.fields["p95"] = measured_scalar(quantile(times, tail) * milliseconds, repeats, "ms", Better::lower);
  value.fields["tokens_per_second"] =
      text ? speed(rows * length) : measured_scalar(std::numeric_limits<double>::quiet_NaN(), 0, "1/s", Better::higher);
  value.fields["rows_per_second"] = speed(rows);
  value.fields["peak_memory"] = measured_scalar(peak_memory(), 1, "B", Better::lower);
  return value;
}

// What the training says of itself in its output `summary`: steps and tokens.
double summary_number(const Value& trained, const std::string& op, const char* name) {
  const auto summary = trained.fields.find("summary");
  const bool found = summary != trained.fields.end() && summary->second.document.contains(name) &&
                     summary->second.document.at(name).is_number();
  if (found) return summary->second.document.at(name).get<double>();
  throw Error(ErrorKind::input,
              "the training '" + op + "' gives no record 'summary' with '" + name + "', which times are divided by");
}

Value training_cost(OpContext& context) {
  Recipe training = context.recipe_param("training");
  const RegisteredOp* op = Registry::instance().find_op(training.op);
  if (op != nullptr && op->schema.find_param("steps") == nullptr) {
    throw Error(ErrorKind::usage,
                "the recipe 'training' is '" + training.op + "', which has no parameter 'steps'; allowed: a training");
  }
  training.params["steps"] = context.param<std::int64_t>("steps");
  std::vector<std::pair<std::string, Field>> inputs = {{"model", context.input("model")},
                                                       {"data", context.input("data")}};
  if (context.has_input("valid")) inputs.emplace_back("valid", context.input("valid"));
  const auto start = Clock::now();
  const Value trained = context.call(training, inputs, "training");
  const double seconds = seconds_since(start);
  const double steps = summary_number(trained, training.op, "steps");
  const auto count = static_cast<std::int64_t>(steps);
  Value value;
  value.fields["seconds_per_step"] = measured_scalar(seconds / steps, count, "s", Better::lower);
  value.fields["tokens_per_second"] =
      measured_scalar(summary_number(trained, training.op, "tokens") / seconds, count, "1/s", Better::higher);
  value.fields["peak_memory"] = measured_scalar(peak_memory(), 1, "B", Better::lower);
  return value;
}

}  // namespace

void declare_measured(Registrar& registrar) {
  registrar.op("latency")
      .doc(
          "Times a model's forward pass on this machine.\n"
          "After two passes that do not count, `repeats` passes over the same batch, alone in a fresh process. A pass "
          "over a text is `batch` windows of `length` tokens. Of examples it is the first `batch` with all that they "
          "have: pictures with their captions, or with the texts of all classes; `only` leaves one tensor, so that "
          "pictures (\"pixels\") and texts (\"ids\") can be timed by themselves. peak_memory is the process's largest "
          "resident size, libraries included.")
      .example("local speed = model:latency { data = text.test, length = 256 }")
      .measured()
      .input("model", "model", "what is timed")
      .input("data", "any", "what it reads: a text (tokens) or examples")
      .output("median", "scalar", "of a pass")
      .output("p95", "scalar", "95th percentile of a pass")
      .output("tokens_per_second", "scalar", "of a text, at the median")
      .output("rows_per_second", "scalar", "sequences, or examples, at the median")
      .output("peak_memory", "scalar", "of the process")
      .param(integer("batch", "sequences, or examples, at once").range(1, std::nullopt).fall_back(1))
      .param(
          integer("length", "tokens in a sequence; without meaning for examples").range(1, std::nullopt).fall_back(256))
      .param(text("only", "of examples: the one tensor that is read, such as pixels or ids").optional())
      .param(integer("repeats", "passes that count").range(1, std::nullopt).fall_back(20))
      .run(latency);
  registrar.op("training_cost")
      .doc(
          "Times a few steps of a training on this machine.\n"
          "Runs the training for `steps` steps alone in a fresh process and discards the result. Start-up and "
          "evaluations of the "
          "training count in, so more steps come nearer to its steady rate. Needs a training that tells steps and "
          "tokens in its "
          "output `summary`, as `train` does.")
      .example("local cost = base:training_cost { data = text.train, training = col.train { steps = 100 } }")
      .measured()
      .random()
      .input("model", "model", "what is trained")
      .input("data", "tokens", "the training text")
      .optional_input("valid", "tokens", "the text of evaluations while training")
      .output("seconds_per_step", "scalar", "wall time")
      .output("tokens_per_second", "scalar", "tokens read in training")
      .output("peak_memory", "scalar", "of the process")
      .param(recipe("training", "model", "the training; its steps are replaced"))
      .param(integer("steps", "steps that are run").range(1, std::nullopt).fall_back(5))
      .run(training_cost);
}

}  // namespace colonnade
