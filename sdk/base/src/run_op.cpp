#include "colonnade/run_op.h"

#include <algorithm>
#include <cstdio>
#include <exception>

#include "colonnade/registry.h"
#include "param_text.h"

namespace colonnade {
namespace {

using detail::listed;

// A plugin that calls itself without end is told so before the stack is gone.
constexpr int kMaxCallDepth = 64;

bool fits(const std::string& declared, const std::string& type) {
  return declared == "any" || declared == type;
}

const InputSpec* find_input(const OpSchema& schema, const std::string& role) {
  for (const InputSpec& input : schema.inputs) {
    if (input.role == role) return &input;
  }
  return nullptr;
}

Error no_such_input(const OpSchema& schema, const std::string& role) {
  std::vector<std::string> roles;
  for (const InputSpec& input : schema.inputs) roles.push_back(input.role);
  const std::string meant = did_you_mean(role, roles);
  return Error(ErrorKind::usage,
               "no input is named '" + role + "'" + (meant.empty() ? "." : meant) + " It has: " + listed(roles));
}

// What an op may call must promise at least as much as the op itself: a bitwise op cannot rest on a stochastic one.
void require_callable(const OpSchema& outer, const OpSchema& inner) {
  if (inner.random && !outer.random) {
    throw Error(ErrorKind::op,
                "it calls '" + inner.id() + "', which draws random numbers, but is not declared random() itself");
  }
  if (inner.op_class > outer.op_class) {
    throw Error(ErrorKind::op, "it calls '" + inner.id() + "', whose results are less repeatable than it declares");
  }
}

const RegisteredOp& find_registered(const std::string& id) {
  const RegisteredOp* op = Registry::instance().find_op(id);
  if (op != nullptr) return *op;
  std::vector<std::string> ids;
  for (const RegisteredOp* known : Registry::instance().ops()) ids.push_back(known->schema.id());
  const std::string meant = did_you_mean(id, ids);
  throw Error(ErrorKind::usage,
              "no op '" + id + "' is loaded" + (meant.empty() ? "." : meant) + " Loaded: " + listed(ids));
}

void check_inputs(const OpSchema& schema, const std::vector<std::pair<std::string, Field>>& inputs) {
  std::map<std::string, int> given;
  for (const auto& [role, field] : inputs) {
    const InputSpec* input = find_input(schema, role);
    if (input == nullptr) throw no_such_input(schema, role);
    if (!fits(input->type, field.type)) {
      throw Error(ErrorKind::usage, "input '" + role + "' is of type '" + field.type + "'; allowed: " + input->type);
    }
    if (++given[role] > 1 && !input->many) {
      throw Error(ErrorKind::usage, "input '" + role + "' was given more than once; allowed: one");
    }
  }
  for (const InputSpec& input : schema.inputs) {
    if (input.optional || given.count(input.role) > 0) continue;
    throw Error(ErrorKind::usage, "input '" + input.role + "' of type '" + input.type + "' is missing");
  }
}

void check_outputs(const OpSchema& schema, const Value& value) {
  std::vector<std::string> names;
  for (const OutputSpec& output : schema.outputs) {
    names.push_back(output.name);
    const auto found = value.fields.find(output.name);
    if (found == value.fields.end()) throw Error(ErrorKind::op, "it gave no output '" + output.name + "'");
    if (fits(output.type, found->second.type)) continue;
    throw Error(ErrorKind::op, "its output '" + output.name + "' is of type '" + found->second.type +
                                   "', declared as '" + output.type + "'");
  }
  for (const auto& [name, field] : value.fields) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    throw Error(ErrorKind::op, "it gave an output '" + name + "' that it does not declare; declared: " + listed(names));
  }
}

// One evaluation: the request as the outside gave it, and where in a chain of calls it stands.
struct Evaluation {
  const RunRequest& request;
  const RegisteredOp& op;
  RandomStream root;
  int depth = 0;
};

Value evaluate(const Evaluation& evaluation);

class Context final : public OpContext {
 public:
  Context(const Evaluation& evaluation, Json params) : evaluation_(evaluation), params_(std::move(params)) {}

  const OpSchema& schema() const override { return evaluation_.op.schema; }
  const Json& params() const override { return params_; }

  bool has_input(const std::string& role) const override { return find(role) != nullptr; }

  const Field& input(const std::string& role) const override {
    const Field* field = find(role);
    if (field == nullptr) throw Error(ErrorKind::op, "it reads the input '" + role + "', which was not given");
    return *field;
  }

  std::vector<const Field*> inputs(const std::string& role) const override {
    require_declared(role);
    std::vector<const Field*> fields;
    for (const auto& [name, field] : request().inputs) {
      if (name == role) fields.push_back(&field);
    }
    return fields;
  }

  RandomStream random() const override {
    require_random();
    return evaluation_.root;
  }

  std::uint64_t seed() const override {
    require_random();
    return request().seed;
  }

  int threads() const override { return request().threads; }
  std::string device() const override { return request().device; }

  void progress(std::int64_t done, std::int64_t total, const std::string& unit,
                const std::vector<std::pair<std::string, double>>& metrics) override {
    if (request().progress) request().progress(done, total, unit, metrics);
  }

  void log(const std::string& line) override {
    if (request().log) request().log(line);
  }

  bool checkpoint_due() override { return request().checkpoint_due && request().checkpoint_due(); }

  void save_checkpoint(const Value& state) override {
    if (request().save_checkpoint) request().save_checkpoint(state);
  }

  std::optional<Value> load_checkpoint() override {
    if (!request().load_checkpoint) return std::nullopt;
    return request().load_checkpoint();
  }

  Value call(const Recipe& recipe, const std::vector<std::pair<std::string, Field>>& inputs,
             const std::string& name) override {
    const RegisteredOp& inner = find_registered(recipe.op);
    require_callable(schema(), inner.schema);
    if (evaluation_.depth == kMaxCallDepth) {
      throw Error(ErrorKind::op, "ops call each other more than " + std::to_string(kMaxCallDepth) + " deep");
    }
    RunRequest nested;
    nested.op = recipe.op;
    nested.params = recipe.params;
    nested.inputs = inputs;
    nested.seed = request().seed;
    nested.occurrence = request().occurrence;
    nested.threads = request().threads;
    nested.device = inner.schema.device == "any" ? request().device : "cpu";
    nested.log = request().log;
    // The host learns that the op is alive and can end it; the checkpoints stay the outer op's.
    nested.progress = [this, &name](std::int64_t done, std::int64_t total, const std::string& unit,
                                    const std::vector<std::pair<std::string, double>>& metrics) {
      progress(done, total, name + ": " + unit, metrics);
    };
    const RandomStream root = evaluation_.root.at(name).at(recipe.op);
    return evaluate({nested, inner, root, evaluation_.depth + 1});
  }

 private:
  const RunRequest& request() const { return evaluation_.request; }

  void require_declared(const std::string& role) const {
    if (find_input(schema(), role) == nullptr) throw no_such_input(schema(), role);
  }

  const Field* find(const std::string& role) const {
    require_declared(role);
    for (const auto& [name, field] : request().inputs) {
      if (name == role) return &field;
    }
    return nullptr;
  }

  // Its key would hold neither seed nor stream, so another seed would be served this one's result.
  void require_random() const {
    if (!schema().random) throw Error(ErrorKind::op, "it draws random numbers, but is not declared random()");
  }

  const Evaluation& evaluation_;
  Json params_;
};

std::string with_op(const std::string& id, const std::string& what) {
  const std::string prefix = "op " + id + ": ";
  return what.starts_with(prefix) ? what : prefix + what;
}

// LibTorch ends its messages with the frames of the stack, which say nothing to the user of an op: they go to the log.
std::string without_frames(const std::string& what) {
  const auto frames = std::min(what.find("\nException raised from "), what.find("\nframe #"));
  if (frames == std::string::npos) return what;
  std::fprintf(stderr, "%s\n", what.c_str());
  return what.substr(0, frames);
}

Value evaluate_unguarded(const Evaluation& evaluation) {
  const OpSchema& schema = evaluation.op.schema;
  Json params = complete_params(schema, evaluation.request.params, "");
  check_inputs(schema, evaluation.request.inputs);
  Context context(evaluation, std::move(params));
  Value value = evaluation.op.function(context);
  check_outputs(schema, value);
  return value;
}

Value evaluate(const Evaluation& evaluation) {
  const std::string id = evaluation.op.schema.id();
  try {
    return evaluate_unguarded(evaluation);
  } catch (const Cancelled&) {
    throw;
  } catch (const Error& error) {
    throw Error(error.kind(), with_op(id, error.what()));
  } catch (const std::exception& error) {
    throw Error(ErrorKind::op, "op " + id + ": " + without_frames(error.what()));
  } catch (...) {
    throw Error(ErrorKind::op, "op " + id + ": it threw something that is not a std::exception");
  }
}

}  // namespace

Value run_op(const RunRequest& request) {
  const RegisteredOp& op = find_registered(request.op);
  const std::uint64_t occurrence = op.schema.fixed_stream ? 0 : request.occurrence;
  const RandomStream root = RandomStream(request.seed).at(request.op).at(occurrence);
  return evaluate({request, op, root});
}

}  // namespace colonnade
