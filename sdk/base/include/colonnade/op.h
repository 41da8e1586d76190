#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "colonnade/error.h"
#include "colonnade/random.h"
#include "colonnade/schema.h"
#include "colonnade/value.h"

namespace colonnade {

// An op with its parameters, waiting for its first input. Checked and completed like any call.
struct Recipe {
  std::string op;  // full id
  Json params = Json::object();

  static Recipe from_json(const Json& document);
};

// What an op sees of the world while it evaluates. One thread, the one that runs the op, may call it.
class OpContext {
 public:
  virtual ~OpContext() = default;

  virtual const OpSchema& schema() const = 0;
  virtual const Json& params() const = 0;  // complete and checked

  virtual bool has_input(const std::string& role) const = 0;
  virtual const Field& input(const std::string& role) const = 0;
  virtual std::vector<const Field*> inputs(const std::string& role) const = 0;  // of a `many` role

  // The root of this node's random numbers: keyed by seed, op and occurrence. Derive with .at(site).at(step).
  virtual RandomStream random() const = 0;
  virtual std::uint64_t seed() const = 0;

  virtual int threads() const = 0;
  virtual std::string device() const = 0;  // "cpu" or "cuda"

  // Tells how far it is; cheap to call often. Throws Cancelled when the host wants the op to end.
  virtual void progress(std::int64_t done, std::int64_t total, const std::string& unit,
                        const std::vector<std::pair<std::string, double>>& metrics = {}) = 0;
  virtual void log(const std::string& line) = 0;

  // A long op saves what it needs to go on after a kill, and asks first whether something was saved. `checkpoint_due` is
  // true every now and then; results must not depend on when.
  virtual bool checkpoint_due() = 0;
  virtual void save_checkpoint(const Value& state) = 0;
  virtual std::optional<Value> load_checkpoint() = 0;

  // Evaluates another op inside this one (a recipe that was handed in as a parameter). `inputs` by role; the stream of
  // random numbers is derived from this node's and `name`.
  virtual Value call(const Recipe& recipe, const std::vector<std::pair<std::string, Field>>& inputs,
                     const std::string& name) = 0;

  template <typename T>
  T param(const std::string& name) const {
    return params().at(name).get<T>();
  }
  bool has_param(const std::string& name) const { return params().contains(name) && !params().at(name).is_null(); }
  Recipe recipe_param(const std::string& name) const { return Recipe::from_json(params().at(name)); }
};

using OpFunction = std::function<Value(OpContext&)>;

}  // namespace colonnade
