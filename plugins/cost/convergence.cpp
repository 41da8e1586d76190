#include "convergence.h"

#include <algorithm>
#include <limits>

#include "colonnade/error.h"
#include "colonnade/op.h"

namespace colonnade {

namespace {

constexpr const char* step_column = "step";
constexpr const char* valid_column = "valid_nats";
constexpr const char* loss_column = "ce";
constexpr const char* nats = "nats";
constexpr double default_tolerance = 0.01;

std::optional<double> lowest(const Table& curve) {
  std::optional<double> best;
  for (const Json& cell : curve.column(valid_column).cells) {
    if (cell.is_number() && (!best || cell.get<double>() < *best)) best = cell.get<double>();
  }
  return best;
}

std::int64_t length_of(const Table& curve) {
  const Json& steps = curve.column(step_column).cells;
  return steps.empty() ? 0 : steps.back().get<std::int64_t>();
}

std::optional<std::int64_t> first_at_most(const Table& curve, double goal) {
  const Json& steps = curve.column(step_column).cells;
  const Json& losses = curve.column(valid_column).cells;
  for (std::size_t row = 0; row < losses.size(); ++row) {
    if (losses[row].is_number() && losses[row].get<double>() <= goal) return steps[row].get<std::int64_t>();
  }
  return std::nullopt;
}

std::vector<Table> curves_of(const OpContext& context) {
  std::vector<Table> curves;
  for (const Field* field : context.inputs("curves")) curves.push_back(table_from(*field));
  return curves;
}

// Not a number where there is none, over no sample.
Field scalar_or_none(const std::optional<double>& value, const std::string& unit, Better better) {
  const double missing = std::numeric_limits<double>::quiet_NaN();
  return to_field(Scalar{value.value_or(missing), value ? 1 : 0, {}, unit, better, {}});
}

// All phases as one training: steps go on counting from phase to phase.
Table joined(const std::vector<Table>& curves) {
  Table all;
  all.add_column("phase", "integer");
  all.add_column(step_column, "integer");
  all.add_column(loss_column, "real", nats);
  all.add_column(valid_column, "real", nats);
  std::int64_t before = 0;
  for (std::size_t phase = 0; phase < curves.size(); ++phase) {
    const Table& curve = curves[phase];
    for (std::size_t row = 0; row < curve.rows(); ++row) {
      all.add_row({static_cast<std::int64_t>(phase + 1),
                   before + curve.column(step_column).cells[row].get<std::int64_t>(),
                   curve.column(loss_column).cells[row], curve.column(valid_column).cells[row]});
    }
    before += length_of(curve);
  }
  return all;
}

Convergence convergence_of(const OpContext& context, const std::vector<Table>& curves) {
  return find_convergence(curves, table_from(context.input("reference")), context.param<double>("tolerance"));
}

Value convergence(OpContext& context) {
  const auto curves = curves_of(context);
  const Convergence found = convergence_of(context, curves);
  std::optional<double> steps;
  if (found.phase) {
    steps = static_cast<double>(found.step);
    for (std::size_t i = 0; i < *found.phase; ++i) *steps += static_cast<double>(found.steps_of_phases[i]);
  }
  Value value;
  value.fields["steps"] = scalar_or_none(steps, "steps", Better::lower);
  value.fields["reached"] = to_field(Scalar{steps ? 1.0 : 0.0, 1, {}, "", Better::higher, {}});
  value.fields["best"] = scalar_or_none(found.best, nats, Better::lower);
  value.fields["goal"] = to_field(Scalar{found.goal, 1, {}, nats, Better::neither, {}});
  value.fields["curve"] = to_field(joined(curves));
  return value;
}

Value convergence_time(OpContext& context) {
  const auto curves = curves_of(context);
  const auto rates = context.inputs("seconds_per_step");
  if (rates.size() != 1 && rates.size() != curves.size()) {
    throw Error(ErrorKind::usage, "there are " + std::to_string(curves.size()) + " curves and " +
                                      std::to_string(rates.size()) +
                                      " inputs `seconds_per_step`; allowed: one for all, or one for each");
  }
  const Convergence found = convergence_of(context, curves);
  std::optional<double> seconds;
  for (std::size_t i = 0; found.phase && i <= *found.phase; ++i) {
    const std::int64_t steps = i < *found.phase ? found.steps_of_phases[i] : found.step;
    const double rate = scalar_from(*rates[rates.size() == 1 ? 0 : i]).value;
    seconds = seconds.value_or(0) + rate * static_cast<double>(steps);
  }
  Value value;
  value.fields["seconds"] = scalar_or_none(seconds, "s", Better::lower);
  return value;
}

OpDeclaration& declare_common(OpDeclaration& op) {
  return op.many_input("curves", "table", "the curves of the training's phases, in their order")
      .input("reference", "table", "the curve of the training that sets the goal")
      .param(real("tolerance", "how far above the reference's best loss the goal lies, as a share of it")
                 .range(0, std::nullopt)
                 .fall_back(default_tolerance));
}

}  // namespace

Convergence find_convergence(const std::vector<Table>& curves, const Table& reference, double tolerance) {
  const auto best = lowest(reference);
  if (!best) {
    throw Error(ErrorKind::input,
                "the reference was never evaluated, so there is no loss to come down to; train it with `valid`");
  }
  Convergence result;
  result.goal = *best * (1 + tolerance);
  for (std::size_t i = 0; i < curves.size(); ++i) {
    result.steps_of_phases.push_back(length_of(curves[i]));
    const auto own = lowest(curves[i]);
    if (own && (!result.best || *own < *result.best)) result.best = own;
    const auto step = result.phase ? std::nullopt : first_at_most(curves[i], result.goal);
    if (!step) continue;
    result.phase = i;
    result.step = *step;
  }
  return result;
}

void declare_convergence(Registrar& registrar) {
  declare_common(registrar.op("convergence"))
      .doc(
          "How many steps a training takes to come down to another one's loss.\n"
          "The goal is the lowest validation loss of `reference` times 1 + tolerance. Curves are those that `train` "
          "gives: columns step, ce and valid_nats, which is empty where nothing was evaluated. Several curves are "
          "phases of one training: steps are counted through all of them, those of a phase without evaluations (a "
          "probe that is thrown away) too. A number of steps is known as finely as evaluations are apart.")
      .example("local c = col.convergence { curves = { masked.curve, tuned.curve }, reference = full.curve }")
      .output("steps", "scalar", "steps until the first evaluation at or below the goal; NaN where there is none")
      .output("reached", "scalar", "1 where there is one, else 0")
      .output("best", "scalar", "the lowest validation loss of all phases")
      .output("goal", "scalar", "the loss to come down to")
      .output("curve", "table", "all phases, steps counted through")
      .run(convergence);
  declare_common(registrar.op("convergence_time"))
      .doc(
          "How many seconds a training takes to come down to another one's loss.\n"
          "The steps of `convergence`, each phase's times its measured seconds a step: those of training_cost, say.")
      .example(
          "local seconds = col.convergence_time { curves = tuned.curve, reference = full.curve, seconds_per_step = "
          "cost.seconds_per_step }")
      .many_input("seconds_per_step", "scalar", "one for all phases, or one for each")
      .output("seconds", "scalar", "until the first evaluation at or below the goal; NaN where there is none")
      .run(convergence_time);
}

}  // namespace colonnade
