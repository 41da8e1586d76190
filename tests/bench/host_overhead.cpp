// What the host itself costs: finding nodes that were evaluated before, and evaluating nodes that do nothing.
//   host_overhead [EXECUTABLE [PLUGIN]]   default: bin/colonnade and tests/plugins/probe.plugin.so of the build folder
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "colonnade/error.h"
#include "kernel/evaluate/evaluator.h"
#include "kernel/evaluate/system.h"
#include "kernel/plugin/host_files.h"

namespace {

using namespace colonnade;
using namespace colonnade::host;

constexpr int kManyNodes = 1000;
constexpr int kChain = 200;
constexpr int kRepeats = 21;
constexpr double kMilliseconds = 1000;

// One evaluation in a project.
struct Session {
  std::unique_ptr<Store> store;
  EvaluationObserver observer;
  std::unique_ptr<Evaluator> evaluator;

  Session(const std::filesystem::path& folder, const EvaluatorOptions& options, const Catalogue& catalogue)
      : store(Store::open(folder / "store", Store::Role::coordinator)),
        evaluator(Evaluator::create(options, catalogue, *store, observer)) {}

  void evaluate(const std::vector<NodeRef>& nodes) {
    for (const NodeRef& node : nodes) evaluator->request(node);
    while (evaluator->wait()) {
    }
    for (const NodeRef& node : nodes) {
      if (const NodeFailure* failure = evaluator->failure(node)) throw Error(ErrorKind::op, failure->message);
    }
  }
};

NodeRef make_step(NodeFactory& factory, const Catalogue& catalogue, int value, const NodeRef& input = nullptr) {
  const OpSchema& schema = catalogue.resolve_op(input ? "probe/join" : "probe/step", "benchmark");
  std::vector<NodeInput> inputs;
  if (input) inputs.push_back({"from", {input, "value"}});
  return factory.make(schema, complete_params(schema, {{"value", value}}, "benchmark"), std::move(inputs), {}, {}, "",
                      "", {});
}

template <typename Action>
double median_ms(Action action) {
  std::vector<double> times;
  for (int i = 0; i < kRepeats; ++i) times.push_back(action() * kMilliseconds);
  std::nth_element(times.begin(), times.begin() + kRepeats / 2, times.end());
  return times[kRepeats / 2];
}

void print_row(const std::string& what, double ms, double allowed) {
  fmt::print("{:<58} {:8.3f} ms   (at most {} ms)\n", what, ms, allowed);
}

void measure(const std::filesystem::path& folder, const EvaluatorOptions& options, const Catalogue& catalogue) {
  NodeFactory factory;
  std::vector<NodeRef> many;
  for (int i = 0; i < kManyNodes; ++i) many.push_back(make_step(factory, catalogue, i));
  Session(folder, options, catalogue).evaluate(many);

  print_row("one found node, of a store with 1,000", median_ms([&] {
              Session session(folder, options, catalogue);
              const double start = monotonic_seconds();
              session.evaluate({many[kManyNodes / 2]});
              return monotonic_seconds() - start;
            }),
            2);
  print_row("1,000 found nodes", median_ms([&] {
              Session session(folder, options, catalogue);
              const double start = monotonic_seconds();
              session.evaluate(many);
              return monotonic_seconds() - start;
            }),
            100);

  // One after another, so that nothing hides behind anything; a node before them starts the worker and loads the
  // plugin.
  Session session(folder, options, catalogue);
  NodeRef node = make_step(factory, catalogue, -1);
  session.evaluate({node});
  double work = 0;
  const double start = monotonic_seconds();
  for (int i = 0; i < kChain; ++i) {
    node = make_step(factory, catalogue, -2 - i, node);
    session.evaluate({node});
    work += session.evaluator->result(node)->trace->seconds;
  }
  const double spent = monotonic_seconds() - start - work;
  print_row("a real but trivial node, beyond its work", spent / kChain * kMilliseconds, 5);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::filesystem::path build = running_executable().parent_path().parent_path();
    std::string folder = (std::filesystem::temp_directory_path() / "colonnade-bench-XXXXXX").string();
    if (!::mkdtemp(folder.data())) throw Error(ErrorKind::environment, "cannot create " + folder);
    EvaluatorOptions options;
    options.environment = numeric_environment("cpu", 1, "portable");
    options.executable = argc > 1 ? std::filesystem::path(argv[1]) : build / "bin" / "colonnade";
    options.log_folder = std::filesystem::path(folder) / "logs";
    options.cache_folder = std::filesystem::path(folder) / "cache";
    PluginPaths paths;
    paths.explicit_files_or_folders = {argc > 2 ? std::filesystem::path(argv[2])
                                                : build / "tests/plugins/probe.plugin.so"};
    const auto catalogue = Catalogue::load(paths, options.cache_folder);
    measure(folder, options, *catalogue);
    std::filesystem::remove_all(folder);
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "host_overhead: {}\n", error.what());
    return 1;
  }
}
