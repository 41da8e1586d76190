#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include "colonnade/param_names.h"
#include "colonnade/text.h"
#include "kernel/cli/commands.h"
#include "kernel/cli/options.h"
#include "kernel/cli/output.h"

namespace colonnade::host {
namespace {

struct OpOptions : CommonOptions {
  std::string name;
  bool help = false;
  const CLI::App* command = nullptr;
};

std::string type_text(const Param& param) {
  std::string text(param_type_name(param.type));
  if (param.type == ParamType::list) text += fmt::format(" of {}", param_type_name(param.element));
  if (param.type == ParamType::recipe && !param.accepts.empty()) text += " of " + param.accepts;
  if (param.type == ParamType::choice) text = fmt::format("{}", fmt::join(param.choices, " | "));
  return text;
}

std::string range_text(const Param& param) {
  std::string text;
  if (param.min) text += fmt::format("{} {}", param.min_exclusive ? ">" : ">=", *param.min);
  if (param.max) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", param.max_exclusive ? "<" : "<=", *param.max);
  if (!param.unit.empty()) text += (text.empty() ? "" : " ") + param.unit;
  return text;
}

std::string default_text(const Param& param) {
  if (param.fallback) return param.fallback->is_null() ? "none" : json_text(*param.fallback);
  return param.nullable ? "none" : "(required)";
}

std::string class_text(const OpSchema& schema) {
  switch (schema.op_class) {
    case OpClass::bitwise:
      return "bitwise: the same inputs give the same bytes";
    case OpClass::tolerant:
      return fmt::format("tolerant: results agree within {} (relative)", schema.epsilon);
    case OpClass::stochastic:
      return "stochastic: results may differ";
    case OpClass::measured:
      return "measured: a property of this machine; runs alone, never evicted";
  }
  return "";
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

std::string indented(const std::string& text) {
  std::string result = "  ";
  for (const char c : text) {
    result += c;
    if (c == '\n') result += "  ";
  }
  return result;
}

void print_op(const OpSchema& schema) {
  say("{}, version {}\n\n{}\n\n{}\n", schema.id(), schema.version, schema.doc, class_text(schema));
  if (schema.random) {
    say("draws random numbers{}: takes seed = n and stream = n beside its parameters\n",
        schema.fixed_stream ? ", the same ones at every occurrence" : "");
  }
  ScreenTable inputs({"input", "type", "", "what"});
  for (const InputSpec& input : schema.inputs) {
    const std::string how = input.many ? "many" : input.optional ? "optional" : "";
    inputs.add({input.role, input.type, how, input.doc});
  }
  if (!inputs.empty()) say("\n{}", inputs.text());
  ScreenTable params({"parameter", "type", "default", "allowed", "what"});
  for (const Param& param : schema.params) {
    const std::string searched = param.search == Search::no    ? ""
                                 : param.search == Search::log ? " (searched, log)"
                                                               : " (searched)";
    params.add({param.name, type_text(param), default_text(param), range_text(param), param.doc + searched});
  }
  if (!params.empty()) say("\n{}", params.text());
  ScreenTable outputs({"field", "type", "what"});
  for (const OutputSpec& output : schema.outputs) outputs.add({output.name, output.type, output.doc});
  say("\n{}", outputs.text());
  if (!schema.example.empty()) say("\nExample:\n{}\n", indented(schema.example));
}

int list_ops(const Catalogue& catalogue, bool json) {
  if (json) {
    Json list = Json::array();
    for (const OpSchema* schema : catalogue.ops()) list.push_back(to_json(*schema));
    print_json(list);
    return 0;
  }
  ScreenTable table({"op", "of", "gives", "what"});
  for (const OpSchema* schema : catalogue.ops()) {
    table.add({schema->id(), schema->inputs.empty() ? "" : schema->inputs.front().type, schema->outputs.front().type,
               first_line(schema->doc)});
  }
  say("{}", table.empty() ? "no plugins were found\n" : table.text());
  return 0;
}

int op(const OpOptions& options) {
  if (options.help && options.name.empty()) {
    say("{}", options.command->help("colonnade"));
    return 0;
  }
  const auto catalogue = options.catalogue();
  if (options.name.empty()) return list_ops(*catalogue, options.json);
  const OpSchema& schema = catalogue->resolve_op(options.name, "op");
  if (options.json) {
    print_json(to_json(schema));
  } else {
    print_op(schema);
  }
  return 0;
}

}  // namespace

void add_op_command(Commands& commands) {
  const auto options = std::make_shared<OpOptions>();
  CLI::App& command = commands.add("op", "List all ops, or explain one: inputs, parameters, fields, an example",
                                   "colonnade op perplexity", [options] { return op(*options); });
  // `op NAME --help` is asked for as often as `op NAME`.
  options->command = &command;
  command.set_help_flag();
  command.add_flag("-h,--help", options->help, "Print this help message, or with a name the op's");
  command.add_option("name", options->name, "An op: plugin/op, or its short name");
  options->declare_plugins(command);
  options->declare_project(command);
  options->declare_json(command);
}

}  // namespace colonnade::host
