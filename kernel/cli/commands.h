#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "kernel/store/project.h"

namespace colonnade::host {

// The commands of the executable. Each lives in a file of its own, which declares its options and says what runs.
class Commands {
 public:
  Commands();

  // `example` closes the command's help. The action's result is the exit code.
  CLI::App& add(const std::string& name, const std::string& summary, const std::string& example,
                std::function<int()> action);
  CLI::App& add_to(CLI::App& parent, const std::string& name, const std::string& summary, const std::string& example,
                   std::function<int()> action);

  // Parses, runs the action, returns the exit code. Error(usage) for what the command line gets wrong.
  int run(std::vector<std::string> arguments);
  // Options of `command` that stand for settings ("--epochs 2", "--disable-x") become values of --set.
  void accept_settings_as_options(const std::string& command) { with_settings_.push_back(command); }

 private:
  std::vector<std::string> with_set_options(std::vector<std::string> arguments) const;

  CLI::App app_;
  std::function<int()> chosen_;
  std::vector<std::string> with_settings_;
};

void add_run_command(Commands& commands);
void add_plan_command(Commands& commands);
void add_replay_command(Commands& commands);
void add_diff_command(Commands& commands);
void add_why_command(Commands& commands);
void add_show_command(Commands& commands);
void add_report_command(Commands& commands);
void add_export_command(Commands& commands);
void add_ls_command(Commands& commands);
void add_gc_command(Commands& commands);
void add_op_command(Commands& commands);
void add_plugin_command(Commands& commands);
void add_worker_command(Commands& commands);           // hidden: started by the coordinator
void add_describe_plugin_command(Commands& commands);  // hidden: started by the catalogue

// The whole executable but for its main function.
int run_command_line(int argc, char** argv);

}  // namespace colonnade::host
