#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "colonnade/json.h"

namespace colonnade {

// The typed declaration of an op. It drives the Lua functions, the validation of studies and settings, `colonnade op`, search
// spaces and the report's parameter tables; nothing else describes an op.

enum class ParamType {
  boolean,
  integer,
  real,
  string,
  choice,  // one of `choices`
  path,    // a file or folder, keyed by its content; given to the op as an absolute path
  list,    // of `element`
  recipe,  // an op with its parameters, not yet applied: {"op": "plugin/op", "params": {...}}
  sites,   // a site selector, one string: "*.x_proj", "role:in_proj", "layer:8..15", joined by ","; "!" excludes
};

enum class Search { no, linear, log };

struct Param {
  std::string name;
  ParamType type = ParamType::real;
  ParamType element = ParamType::real;  // of a list
  std::optional<Json> fallback;         // the default; a parameter without one is required
  std::optional<double> min, max;       // inclusive unless said; of the elements, for a list
  bool min_exclusive = false, max_exclusive = false;
  std::vector<std::string> choices;
  std::string accepts;  // of a recipe: what its op must offer, by the type of its first output ("model", "lora/plan"); "" any
  std::string unit;
  std::string doc;  // one line
  Search search = Search::no;
  bool nullable = false;  // null (in Lua: absent) is a value of its own, e.g. "no limit"

  // Fluent setters, so that a declaration reads as one sentence.
  Param& fall_back(Json value);
  Param& range(std::optional<double> low, std::optional<double> high);
  Param& above(double low);  // exclusive lower bound
  Param& below(double high);
  Param& in(std::string unit_name);
  Param& searched(Search how);
  Param& optional();  // nullable, default null
};

Param boolean(std::string name, std::string doc);
Param integer(std::string name, std::string doc);
Param real(std::string name, std::string doc);
Param text(std::string name, std::string doc);
Param choice(std::string name, std::vector<std::string> choices, std::string doc);
Param path(std::string name, std::string doc);
Param list(std::string name, ParamType element, std::string doc);
Param recipe(std::string name, std::string accepts, std::string doc);
Param sites(std::string name, std::string doc);

struct InputSpec {
  std::string role;
  std::string type;  // a field type, or "any"
  std::string doc;
  bool optional = false;
  bool many = false;  // a list of fields (Lua: an array of nodes)
};

struct OutputSpec {
  std::string name;
  std::string type;
  std::string doc;
};

enum class OpClass {
  bitwise,     // same key, same bytes
  tolerant,    // within `epsilon` (relative)
  stochastic,  // may differ
  measured,    // a time or a size of this machine: alone in a fresh worker, the machine in its key, never evicted
};

struct OpSchema {
  std::string plugin;
  std::string name;  // the op is plugin/name
  std::int64_t version = 1;
  std::string doc;      // first line: what it does in one sentence; then the definition with its source
  std::string example;  // Lua
  OpClass op_class = OpClass::bitwise;
  double epsilon = 0;
  // Draws random numbers: its key holds a seed and a stream; Lua offers `seed = n` and `stream = n` beside its parameters.
  bool random = false;
  // The stream is the same for every occurrence in a chain (a second use continues the first one's numbers on purpose).
  bool fixed_stream = false;
  std::vector<InputSpec> inputs;    // the first one is what the op is a method of
  std::vector<OutputSpec> outputs;  // the first one is what a node stands for when no field is named
  std::vector<Param> params;
  int cores = 0;                      // 0: the worker's threads
  std::string memory;                 // bytes needed, a Lua expression of the parameters, "" unknown
  std::string work;                   // units of work, a Lua expression of the parameters, for `plan`; "" constant
  std::string bytes;                  // bytes of the value, likewise
  std::string device = "cpu";         // "cpu", or "any": follows the study's device
  std::optional<double> time_limit;   // seconds

  std::string id() const { return plugin + "/" + name; }
  const Param* find_param(const std::string& param_name) const;
};

Json to_json(const OpSchema& schema);
OpSchema schema_from_json(const Json& document);

// Checks one parameter value and brings it to its type (an integer for a real becomes a real). `where` opens the message
// ("studies/x/study.lua:12", "--set lr"). Throws Error(usage).
Json check_param(const OpSchema& schema, const Param& param, const Json& value, const std::string& where);

// What a parameter may be, for messages and help: "an integer of at least 1", "one of 'a', 'b'".
std::string allowed_text(const Param& param);

// Checks all, fills in defaults, refuses unknown names with the nearest valid one. Recipes are checked by the caller, who
// knows the catalogue.
Json complete_params(const OpSchema& schema, const Json& params, const std::string& where);

// Declares mistakes of a schema itself (duplicate names, a default out of range, an output missing...): Error(environment).
void check_schema(const OpSchema& schema);

}  // namespace colonnade
