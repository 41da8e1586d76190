#include "tests/kernel/evaluate/support.h"

#include <catch2/catch.hpp>

#include "colonnade/value.h"

namespace colonnade::host::testing {

const Catalogue& probe_catalogue() {
  static const ScratchFolder cache;
  static const std::unique_ptr<Catalogue> catalogue = [] {
    PluginPaths paths;
  paths.installed = false;
    paths.explicit_files_or_folders = {std::filesystem::path(COLONNADE_TEST_FIXTURE_DIR) / "probe.plugin.so"};
    return Catalogue::load(paths, cache.path());
  }();
  return *catalogue;
}

Bench::Bench() : scratch_(std::make_unique<ScratchFolder>()), folder_(scratch_->path()) {
  restart();
}

Bench::Bench(const std::filesystem::path& folder) : folder_(folder) {
  restart();
}

void Bench::restart() {
  evaluator.reset();
  store.reset();
  options.environment = numeric_environment("cpu", 1, "portable");
  options.executable = COLONNADE_TEST_EXECUTABLE;
  options.log_folder = folder_ / "logs";
  options.cache_folder = folder_ / "cache";
  recorder = {};
  store = Store::open(folder_ / "store", Store::Role::coordinator);
  evaluator = Evaluator::create(options, probe_catalogue(), *store, recorder);
}

NodeRef Bench::node(const std::string& op, Json params, const std::vector<NodeRef>& inputs,
                    std::optional<std::uint64_t> seed) {
  const OpSchema& schema = probe_catalogue().resolve_op("probe/" + op, "a test");
  std::vector<NodeInput> list;
  for (const NodeRef& input : inputs) {
    list.push_back({schema.inputs.front().role, {input, input->schema->outputs.front().name}});
  }
  std::optional<SeedBinding> binding;
  if (seed) binding = SeedBinding{false, *seed};
  return factory_.make(schema, complete_params(schema, params, "a test"), std::move(list), binding, {}, "", "", {});
}

void Bench::evaluate(const std::vector<NodeRef>& nodes) {
  for (const NodeRef& node : nodes) evaluator->request(node);
  while (evaluator->wait()) {
  }
}

double Bench::value(const NodeRef& node) {
  const NodeFailure* failure = evaluator->failure(node);
  INFO((failure ? failure->message : ""));
  REQUIRE(failure == nullptr);
  return scalar_from(evaluator->fetch({node, node->schema->outputs.front().name})).value;
}

const std::string& Bench::failure(const NodeRef& node) {
  const NodeFailure* failure = evaluator->failure(node);
  REQUIRE(failure != nullptr);
  return failure->message;
}

std::vector<std::string> Bench::trail_lines() const {
  std::ifstream file(trail());
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> children;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream status(entry.path() / "status");
    for (std::string line; std::getline(status, line);) {
      if (line.rfind("PPid:", 0) != 0) continue;
      if (std::stol(line.substr(5)) == parent) children.push_back(static_cast<pid_t>(std::stol(name)));
      break;
    }
  }
  return children;
}

}  // namespace colonnade::host::testing
