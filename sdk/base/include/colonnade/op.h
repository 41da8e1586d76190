#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
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

namespace detail {

// What a C++ type is to a declaration; nothing for Json, which takes whatever is declared.
struct ReadAs {
  std::optional<ParamType> type;
  bool list = false;
};

template <typename T>
struct ReadAsOf {
  static constexpr ReadAs value() {
    if constexpr (std::is_same_v<T, bool>) return {ParamType::boolean};
    if constexpr (std::is_integral_v<T>) return {ParamType::integer};
    if constexpr (std::is_floating_point_v<T>) return {ParamType::real};
    if constexpr (std::is_same_v<T, std::string>) return {ParamType::string};
    static_assert(std::is_arithmetic_v<T> || std::is_same_v<T, std::string> || std::is_same_v<T, Json>,
                  "no parameter is of this type");
    return {};
  }
};

template <typename Element>
struct ReadAsOf<std::vector<Element>> {
  static constexpr ReadAs value() { return {ReadAsOf<Element>::value().type, true}; }
};

template <typename T>
constexpr ReadAs read_as() {
  return ReadAsOf<T>::value();
}

const Json& read_param(const OpSchema& schema, const Json& params, const std::string& name, const ReadAs& read);
[[noreturn]] void refuse_narrow(const std::string& name, std::int64_t value);

template <typename T>
T as_type(const Json& value, const std::string& name) {
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    const auto wide = value.get<std::int64_t>();
    if (!std::in_range<T>(wide)) refuse_narrow(name, wide);
    return static_cast<T>(wide);
  } else {
    return value.get<T>();
  }
}

}  // namespace detail

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

  // A long op saves what it needs to go on after a kill, and asks first whether something was saved. `checkpoint_due`
  // is true every now and then; results must not depend on when.
  virtual bool checkpoint_due() = 0;
  virtual void save_checkpoint(const Value& state) = 0;
  virtual std::optional<Value> load_checkpoint() = 0;

  // Evaluates another op inside this one (a recipe that was handed in as a parameter). `inputs` by role; the stream of
  // random numbers is derived from this node's and `name`.
  virtual Value call(const Recipe& recipe, const std::vector<std::pair<std::string, Field>>& inputs,
                     const std::string& name) = 0;

  // Throws Error(op) if the op declares no parameter of this name, declares it of a type that T is not for, or it was
  // left out (ask `has_param` about what is `optional`). T: bool, an integer, a floating-point type, std::string, Json,
  // or a vector of them for a list.
  template <typename T>
  T param(const std::string& name) const {
    return detail::as_type<T>(detail::read_param(schema(), params(), name, detail::read_as<T>()), name);
  }
  bool has_param(const std::string& name) const { return params().contains(name) && !params().at(name).is_null(); }
  Recipe recipe_param(const std::string& name) const {
    return Recipe::from_json(detail::read_param(schema(), params(), name, {ParamType::recipe, false}));
  }
};

using OpFunction = std::function<Value(OpContext&)>;

}  // namespace colonnade
