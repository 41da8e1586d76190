#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <string_view>

#include "colonnade/error.h"
#include "colonnade/schema.h"
#include "param_text.h"

namespace colonnade {
namespace {

using detail::shown_bound;

// Lua puts these beside an op's parameters, so no parameter or role may have their names.
constexpr std::array<std::string_view, 4> kReservedNames = {"seed", "stream", "device", "label"};

bool is_name(std::string_view text) {
  const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  const auto follows = [&](char c) { return lower(c) || (c >= '0' && c <= '9') || c == '_'; };
  return !text.empty() && lower(text.front()) && std::all_of(text.begin(), text.end(), follows);
}

// "name" or "plugin/name".
bool is_type(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return is_name(text);
  return is_name(text.substr(0, slash)) && is_name(text.substr(slash + 1));
}

bool is_number(ParamType type) {
  return type == ParamType::integer || type == ParamType::real;
}

class SchemaCheck {
 public:
  explicit SchemaCheck(const OpSchema& schema) : schema_(schema) {}

  void run() {
    check_head();
    for (const InputSpec& input : schema_.inputs) check_input(input);
    check_outputs();
    for (const Param& param : schema_.params) check_declaration(param);
  }

 private:
  void require(bool good, const std::string& what) const {
    if (!good) throw Error(ErrorKind::environment, "the schema of op '" + schema_.id() + "' is wrong: " + what);
  }

  void require_name(const std::string& name, const std::string& of) const {
    require(is_name(name),
            of + " has the name '" + name + "'; allowed: lower-case letters, digits and _, a letter first");
  }

  void require_free(const std::string& name) {
    const bool reserved = std::find(kReservedNames.begin(), kReservedNames.end(), name) != kReservedNames.end();
    require(!reserved, "the name '" + name + "' is reserved; also reserved: seed, stream, device, label");
    require(names_.insert(name).second, "two of its inputs and parameters are named '" + name + "'");
  }

  void require_type(const std::string& type, const std::string& of) const {
    require(is_type(type), of + " has the type '" + type + "'; allowed: 'any', 'name' or 'plugin/name'");
  }

  void check_head() const {
    require_name(schema_.plugin, "its plugin");
    require_name(schema_.name, "it");
    require(schema_.version >= 1, "its version is " + std::to_string(schema_.version) + "; allowed: 1 and up");
    require(!schema_.doc.empty(), "it has no doc");
    const bool tolerant = schema_.op_class == OpClass::tolerant;
    require(!tolerant || (std::isfinite(schema_.epsilon) && schema_.epsilon > 0),
            "it is tolerant without an epsilon above 0");
    require(tolerant || schema_.epsilon == 0, "it has an epsilon but is not tolerant");
    require(schema_.random || !schema_.fixed_stream, "it fixes its stream but draws no random numbers");
    require(schema_.cores >= 0, "its cores are " + std::to_string(schema_.cores) + "; allowed: 0 and up");
    require(schema_.device == "cpu" || schema_.device == "any",
            "its device is '" + schema_.device + "'; allowed: cpu, any");
    require(!schema_.time_limit || *schema_.time_limit > 0, "its time limit is not above 0");
  }

  void check_input(const InputSpec& input) {
    require_name(input.role, "an input");
    require_free(input.role);
    const std::string subject = "input '" + input.role + "'";
    require_type(input.type, subject);
    require(!input.doc.empty(), subject + " has no doc");
  }

  void check_outputs() const {
    require(!schema_.outputs.empty(), "it has no output");
    std::set<std::string> names;
    for (const OutputSpec& output : schema_.outputs) {
      require_name(output.name, "an output");
      require(names.insert(output.name).second, "two of its outputs are named '" + output.name + "'");
      const std::string subject = "output '" + output.name + "'";
      require_type(output.type, subject);
      require(!output.doc.empty(), subject + " has no doc");
    }
  }

  void check_declaration(const Param& param) {
    require_name(param.name, "a parameter");
    require_free(param.name);
    const std::string subject = "parameter '" + param.name + "'";
    require(!param.doc.empty(), subject + " has no doc");
    require(param.doc.find('\n') == std::string::npos, subject + " has a doc of more than one line");
    const bool is_list = param.type == ParamType::list;
    require(!is_list || param.element != ParamType::list, subject + " is a list of lists");
    const ParamType type = is_list ? param.element : param.type;
    check_range(param, type, subject);
    check_choices(param, type, subject);
    require(param.accepts.empty() || type == ParamType::recipe, subject + " accepts an op but is no recipe");
    require(param.accepts.empty() || is_type(param.accepts),
            subject + " accepts '" + param.accepts + "'; allowed: 'name' or 'plugin/name'");
    check_search(param, subject);
    check_default(param, subject);
  }

  void check_range(const Param& param, ParamType type, const std::string& subject) const {
    require(!(param.min || param.max) || is_number(type), subject + " has a range but is no number");
    require(!(param.min && std::isnan(*param.min)) && !(param.max && std::isnan(*param.max)),
            subject + " has a bound that is not a number");
    require(param.min || !param.min_exclusive, subject + " excludes a lower bound that it does not have");
    require(param.max || !param.max_exclusive, subject + " excludes an upper bound that it does not have");
    if (!param.min || !param.max) return;
    const bool open = param.min_exclusive || param.max_exclusive;
    require(open ? *param.min < *param.max : *param.min <= *param.max,
            subject + " has an empty range: " + shown_bound(*param.min) + " to " + shown_bound(*param.max));
  }

  void check_choices(const Param& param, ParamType type, const std::string& subject) const {
    require((type == ParamType::choice) == !param.choices.empty(),
            subject + (param.choices.empty() ? " is a choice of nothing" : " has choices but is no choice"));
    const std::set<std::string> unique(param.choices.begin(), param.choices.end());
    require(unique.size() == param.choices.size(), subject + " has a choice twice");
    require(unique.count("") == 0, subject + " has an empty choice");
  }

  void check_search(const Param& param, const std::string& subject) const {
    if (param.search == Search::no) return;
    const bool discrete = param.type == ParamType::boolean || param.type == ParamType::choice;
    require(is_number(param.type) || (discrete && param.search == Search::linear),
            subject + " cannot be searched in this way; allowed: numbers, and booleans and choices linearly");
    if (param.search != Search::log) return;
    const bool positive = param.min && (*param.min > 0 || (*param.min == 0 && param.min_exclusive));
    require(positive, subject + " is searched on a log scale, but its range is not above 0");
  }

  void check_default(const Param& param, const std::string& subject) const {
    if (!param.fallback) return;
    try {
      check_param(schema_, param, *param.fallback, "");
    } catch (const Error& error) {
      require(false, subject + " has a default that it does not allow: " + error.what());
    }
  }

  const OpSchema& schema_;
  std::set<std::string> names_;  // of inputs and parameters, which share one table in Lua
};

}  // namespace

void check_schema(const OpSchema& schema) {
  SchemaCheck(schema).run();
}

}  // namespace colonnade
