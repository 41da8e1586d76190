#include "kernel/study/execute.h"

#include <fmt/format.h>

#include <map>
#include <set>
#include <system_error>

#include "colonnade/error.h"
#include "kernel/evaluate/key_sources.h"
#include "kernel/report/report.h"
#include "kernel/store/files.h"
#include "kernel/study/collect.h"
#include "kernel/study/interrupt.h"
#include "kernel/study/recorder.h"
#include "kernel/study/trials.h"

namespace colonnade::host {
namespace {

constexpr const char* first_result = "comprehensive_results.json";
constexpr const char* first_report = "RESEARCH_REPORT.md";

// Enough to say which plugins a node names: what its paths hold makes no difference to that.
KeySources plugin_sources(const Catalogue& catalogue) {
  KeySources sources = make_key_sources(catalogue, {});
  sources.path_content = [](const std::string&) { return Hash(); };
  return sources;
}

// Keeps the nodes that were requested and notes code that the lock does not know.
class Requested {
 public:
  Requested(const PreparedStudy& prepared, Recorder& recorder)
      : catalogue_(*prepared.catalogue),
        device_(prepared.environment.device),
        sources_(plugin_sources(*prepared.catalogue)),
        recorder_(recorder),
        locked_(plugins_of(template_nodes(prepared.study->description()), sources_)) {}

  void visit(const NodeRef& target) {
    std::vector<NodeRef> stack = {target};
    while (!stack.empty()) {
      const NodeRef node = stack.back();
      stack.pop_back();
      if (!nodes_.emplace(node->structure, node).second) continue;
      for (const std::string& plugin : plugins_of({node}, sources_)) {
        if (locked_.insert(plugin).second) recorder_.code(plugin, catalogue_.code_of({plugin}, device_));
      }
      for (const NodeInput& input : node->inputs) stack.push_back(input.from.node);
    }
  }

  int count() const { return static_cast<int>(nodes_.size()); }
  const NodeRef& at(const Hash& structure) const { return nodes_.at(structure); }

 private:
  const Catalogue& catalogue_;
  const std::string device_;
  KeySources sources_;
  Recorder& recorder_;
  std::set<std::string> locked_;
  std::map<Hash, NodeRef> nodes_;
};

bool is_finished(const RunFolder& folder, const RunHistory& history, const PreparedStudy& prepared) {
  std::error_code error;
  const bool has_outputs = std::filesystem::exists(folder.path / first_result, error) &&
                           std::filesystem::exists(folder.path / first_report, error);
  if (!history.finished || history.failed_trials > 0 || !has_outputs) return false;
  for (const auto& [plugin, code] : history.code) {
    const Catalogue& catalogue = *prepared.catalogue;
    if (!catalogue.find_plugin(plugin)) return false;
    if (catalogue.code_of({plugin}, prepared.environment.device) != code) return false;
  }
  return true;
}

void take_finished(const RunHistory& history, RunOutcome& outcome) {
  outcome.table = history.table;
  outcome.was_finished = true;
}

// Without opening the journal for writing, or the store. Not if the lock has to be mended first.
std::optional<RunOutcome> find_finished(const PreparedStudy& prepared, const StudyLock& lock) {
  const auto folder = find_run(prepared.project.runs_folder(), lock.id);
  if (!folder || read_file_if_there(folder->lock()) != lock_text(lock.document)) return std::nullopt;
  const JournalContents contents = read_journal(folder->journal());
  RunHistory history;
  for (const Json& event : contents.events) history.apply(event);
  if (!is_finished(*folder, history, prepared)) return std::nullopt;
  RunOutcome outcome;
  outcome.folder = *folder;
  outcome.messages = contents.damage;
  take_finished(history, outcome);
  return outcome;
}

std::vector<std::string> arm_names(const StudyDescription& description) {
  std::vector<std::string> names;
  for (const Arm& arm : description.arms) names.push_back(arm.name);
  return names;
}

void evaluate_and_report(PreparedStudy& prepared, const StudyLock& lock, Recorder& recorder, ProgressDisplay* display,
                         RunOutcome& outcome) {
  const auto store = Store::open(prepared.project.store_folder(), Store::Role::coordinator);
  const auto evaluator =
      Evaluator::create(prepared.evaluator_options(outcome.folder.logs()), *prepared.catalogue, *store, recorder);
  Requested requested(prepared, recorder);
  TrialDriver driver(*prepared.study, prepared.seeds, *evaluator, recorder, [&](const NodeRef& node) {
    requested.visit(node);
    if (display) display->set_total(requested.count());
  });
  const InterruptGuard guard([&] { evaluator->interrupt(); });
  try {
    driver.start();
    recorder.commit();
    driver.run();
  } catch (const Cancelled&) {
    recorder.event({{"event", "interrupted"}});
    recorder.commit();
    throw;
  }
  recorder.commit();
  if (display) display->finish();
  const StudyResults results = collect_results(recorder.history(), lock.document, lock.id, *store, *prepared.catalogue,
                                               [&](const NodeRecord& node, const std::string& field) {
                                                 return evaluator->fetch({requested.at(node.structure), field});
                                               });
  outcome.table = write_report(results, outcome.folder.path, prepared.host.visualization);
  outcome.failed_trials = driver.failed();
  outcome.found = recorder.found();
  outcome.computed = recorder.computed();
  outcome.workers_started = evaluator->workers_started();
  recorder.event({{"event", "finished"}, {"failed", outcome.failed_trials}, {"table", outcome.table}});
  recorder.commit();
}

}  // namespace

RunOutcome execute_study(PreparedStudy& prepared, const DisplayFactory& make_display) {
  const StudyLock lock = prepared.lock();
  if (auto finished = find_finished(prepared, lock)) return *finished;
  RunOutcome outcome;
  outcome.folder = find_or_make_run(prepared.project.runs_folder(), prepared.study->description().name, lock.id);
  const auto journal = Journal::open(outcome.folder.journal());
  outcome.messages = fill_run_folder(outcome.folder, lock, prepared.settings.study_folder / "study.toml");
  for (const std::string& line : journal->contents().damage) outcome.messages.push_back(line);

  const auto display = make_display ? make_display(outcome.folder) : nullptr;
  Recorder recorder(*journal, display.get());
  // Another process may have finished it between the first look and the lock.
  if (is_finished(outcome.folder, recorder.history(), prepared)) {
    take_finished(recorder.history(), outcome);
    return outcome;
  }
  recorder.start({arm_names(prepared.study->description()), prepared.seeds, prepared.host.workers, prepared.plugins,
                  prepared.settings.study_folder});
  evaluate_and_report(prepared, lock, recorder, display.get(), outcome);
  return outcome;
}

std::string write_run_report(const RunRecord& run, Store& store, const Catalogue& catalogue, bool draw_plots) {
  const StudyResults results =
      collect_results(run.history, run.lock, lock_id(run.lock), store, catalogue, stored_fields(store));
  return write_report(results, run.folder.path, draw_plots);
}

}  // namespace colonnade::host
