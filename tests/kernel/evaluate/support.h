#pragma once

#include <sys/types.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "kernel/evaluate/evaluator.h"
#include "tests/kernel/store/support.h"

namespace colonnade::host::testing {

// The catalogue of the fixture plugin "probe", loaded once.
const Catalogue& probe_catalogue();

// Keeps what an evaluator tells, in order.
class Recorder : public EvaluationObserver {
 public:
  void on_found(const NodeRef& node, const NodeResult&) override { found.push_back(node->schema->name); }
  void on_started(const NodeRef& node, const Hash&, int) override { started.push_back(node->schema->name); }
  void on_progress(const NodeRef& node, std::int64_t done, std::int64_t, const std::string&,
                   const std::vector<std::pair<std::string, double>>& metrics) override {
    progress.push_back(node->schema->name + " " + std::to_string(done));
    if (!metrics.empty()) last_metric = metrics.back();
    if (on_sign) on_sign();
  }
  void on_computed(const NodeRef& node, const NodeResult&, double) override { computed.push_back(node->schema->name); }
  void on_failed(const NodeRef& node, const NodeFailure&) override { failed.push_back(node->schema->name); }
  void on_nondeterminism(const NodeRef&, const Nondeterminism& what) override { nondeterminism.push_back(what); }
  void on_message(const std::string& line) override { messages.push_back(line); }
  void on_tick() override {
    if (on_sign) on_sign();
  }

  std::vector<std::string> found, started, progress, computed, failed, messages;
  std::vector<Nondeterminism> nondeterminism;
  std::pair<std::string, double> last_metric;
  std::function<void()> on_sign;
};

// A project in a scratch folder with a graph of probe's ops.
class Bench {
 public:
  Bench();
  explicit Bench(const std::filesystem::path& folder);  // goes on in a folder that is there

  NodeRef node(const std::string& op, Json params = Json::object(), const std::vector<NodeRef>& inputs = {},
               std::optional<std::uint64_t> seed = {});
  // Starts over with a fresh evaluator on the same store, as a later command would.
  void restart();
  // Requests all and waits until nothing is left.
  void evaluate(const std::vector<NodeRef>& nodes);
  double value(const NodeRef& node);
  const std::string& failure(const NodeRef& node);
  std::string trail() const { return (folder() / "trail").string(); }
  std::vector<std::string> trail_lines() const;
  const std::filesystem::path& folder() const { return folder_; }

  EvaluatorOptions options;
  Recorder recorder;
  std::unique_ptr<Store> store;
  std::unique_ptr<Evaluator> evaluator;

 private:
  std::unique_ptr<ScratchFolder> scratch_;
  std::filesystem::path folder_;
  NodeFactory factory_;
};

// Living processes that are children of `parent`, zombies too.
std::vector<pid_t> children_of(pid_t parent);

}  // namespace colonnade::host::testing
