#include "kernel/cli/commands.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "colonnade/error.h"
#include "colonnade/version.h"
#include "kernel/cli/output.h"
#include "kernel/study/hints.h"

namespace colonnade::host {
namespace {

constexpr int exit_trials_failed = 1;
constexpr int exit_usage = 2;
constexpr int exit_environment = 3;
constexpr int exit_interrupted = 130;
constexpr std::string_view disable_prefix = "--disable-";

std::vector<std::string> visible_commands(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App* a) { return !a->get_group().empty(); })) {
    names.push_back(command->get_name());
  }
  return names;
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

const CLI::App* deepest_parsed(const CLI::App& app) {
  const auto parsed = app.get_subcommands();
  return parsed.empty() ? &app : deepest_parsed(*parsed.front());
}

[[noreturn]] void refuse_extra(const CLI::App& app) {
  const CLI::App* command = deepest_parsed(app);
  const std::vector<std::string> extras = app.remaining(true);
  const std::string extra = extras.empty() ? "" : extras.front();
  const std::string name = extra.substr(0, extra.find('='));
  const bool has_commands = !visible_commands(*command).empty();
  if (extra.starts_with("-")) {
    throw Error(ErrorKind::usage, fmt::format("unknown option '{}'{}", name,
                                              then(did_you_mean(name, option_names(*command)),
                                                   fmt::format("'colonnade{} --help' lists them",
                                                               command == &app ? "" : " " + command->get_name()))));
  }
  if (has_commands) {
    const auto known = visible_commands(*command);
    throw Error(ErrorKind::usage,
                fmt::format("unknown command '{}'{}", extra,
                            then(did_you_mean(extra, known), fmt::format("commands: {}", fmt::join(known, ", ")))));
  }
  throw Error(ErrorKind::usage, fmt::format("{}: '{}' is one argument too many; see 'colonnade {} --help'",
                                            command->get_name(), extra, command->get_name()));
}

[[noreturn]] void throw_parse_error(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* command = deepest_parsed(app);
  throw Error(ErrorKind::usage,
              fmt::format("{}{}; see 'colonnade{} --help'", command == &app ? "" : command->get_name() + ": ",
                          error.what(), command == &app ? "" : " " + command->get_name()));
}

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::usage:
      return exit_usage;
    case ErrorKind::environment:
      return exit_environment;
    case ErrorKind::input:
    case ErrorKind::op:
      return exit_trials_failed;
  }
  return exit_environment;
}

int complain(const std::string& message, int code) {
  std::fflush(stdout);
  say_error("colonnade: {}\n", message);
  return code;
}

// Output that was lost is an error of its own, unless nobody wanted the rest of it.
int close_output(int code) {
  const bool whole = std::fflush(stdout) == 0 && !std::ferror(stdout);
  if (whole || errno == EPIPE) return code;
  return complain(fmt::format("cannot write all output: {}", std::strerror(errno)), exit_environment);
}

}  // namespace

Commands::Commands() : app_("Studies of compressing and adapting models: run, compare, replay.", "colonnade") {
  app_.set_version_flag("--version", std::string("colonnade ") + COLONNADE_VERSION);
  app_.require_subcommand(0, 1);
  app_.footer("Each command has a --help with an example.\nExample:\n  colonnade run studies/quickstart");
}

CLI::App& Commands::add(const std::string& name, const std::string& summary, const std::string& example,
                        std::function<int()> action) {
  return add_to(app_, name, summary, example, std::move(action));
}

CLI::App& Commands::add_to(CLI::App& parent, const std::string& name, const std::string& summary,
                           const std::string& example, std::function<int()> action) {
  CLI::App& command = *parent.add_subcommand(name, summary);
  if (!example.empty()) command.footer("Example:\n  " + example);
  if (action) command.parse_complete_callback([this, action = std::move(action)] { chosen_ = action; });
  return command;
}

// Turned before parsing, since the parser would take an unknown option's value for an argument.
std::vector<std::string> Commands::with_set_options(std::vector<std::string> arguments) const {
  if (arguments.empty()) return arguments;
  const std::string command = arguments.front();
  if (std::find(with_settings_.begin(), with_settings_.end(), command) == with_settings_.end()) return arguments;
  const auto known = option_names(*app_.get_subcommand(command));
  std::vector<std::string> result;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const auto equals = argument.find('=');
    const std::string option = argument.substr(0, equals);
    const bool is_setting =
        option.starts_with("--") && option.size() > 2 && std::find(known.begin(), known.end(), option) == known.end();
    if (!is_setting) {
      result.push_back(argument);
      continue;
    }
    const bool disables = option.starts_with(disable_prefix);
    std::string value = "false";
    if (!disables) {
      const bool has_value =
          equals != std::string::npos || (i + 1 < arguments.size() && !arguments[i + 1].starts_with("--"));
      if (!has_value) {
        throw Error(ErrorKind::usage, fmt::format("'{}' is no option{}", option,
                                                  then(did_you_mean(option, known), "as a setting it needs a value")));
      }
      value = equals != std::string::npos ? argument.substr(equals + 1) : arguments[++i];
    }
    result.push_back(fmt::format("--set={}={}", option, value));
  }
  return result;
}

int Commands::run(std::vector<std::string> arguments) {
  arguments = with_set_options(std::move(arguments));
  std::reverse(arguments.begin(), arguments.end());  // as the parser wants them
  try {
    app_.parse(arguments);
  } catch (const CLI::ExtrasError&) {
    refuse_extra(app_);
  } catch (const CLI::RequiredError& error) {
    const CLI::App* command = deepest_parsed(app_);
    if (command->get_require_subcommand_min() == 0) throw_parse_error(app_, error);
    if (!app_.remaining(true).empty()) refuse_extra(app_);
    throw Error(ErrorKind::usage, fmt::format("{}: one of its commands is needed; commands: {}", command->get_name(),
                                              fmt::join(visible_commands(*command), ", ")));
  } catch (const CLI::Success& success) {
    return app_.exit(success);
  } catch (const CLI::ParseError& error) {
    throw_parse_error(app_, error);
  }
  if (!chosen_) {
    const CLI::App* command = deepest_parsed(app_);
    say_error("{}", command->help());
    return exit_usage;
  }
  return chosen_();
}

int run_command_line(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
  try {
    Commands commands;
    add_run_command(commands);
    add_plan_command(commands);
    add_replay_command(commands);
    add_diff_command(commands);
    add_why_command(commands);
    add_show_command(commands);
    add_report_command(commands);
    add_export_command(commands);
    add_ls_command(commands);
    add_gc_command(commands);
    add_op_command(commands);
    add_plugin_command(commands);
    add_worker_command(commands);
    add_describe_plugin_command(commands);
    return close_output(commands.run({argv + std::min(argc, 1), argv + argc}));
  } catch (const Error& error) {
    return complain(error.what(), exit_code(error.kind()));
  } catch (const Cancelled&) {
    return complain("interrupted", exit_interrupted);
  } catch (const std::exception& error) {
    return complain(fmt::format("internal error: {}", error.what()), exit_environment);
  }
}

}  // namespace colonnade::host
