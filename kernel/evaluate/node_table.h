#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernel/evaluate/evaluator.h"

namespace colonnade::host {

// A node on its way through an evaluation.
struct Entry {
  enum class Phase { waiting, ready, running, found, computed, failed };

  NodeRef node;
  std::vector<Entry*> inputs;  // one an input of the node, in its order
  std::vector<Entry*> users;
  std::size_t order = 0;  // of arrival
  Phase phase = Phase::waiting;
  bool requested = false;
  // Its value stands as it was recorded; it has no inputs here.
  bool taken = false;
  // Somebody will read its bytes: a trace alone is not enough.
  bool needs_blobs = false;
  std::optional<NodeKey> key;
  NodeResult result;  // `trace` as soon as the contents are known, although blobs may have to be made again
  NodeFailure failure;
  int deaths = 0;   // workers that died while they evaluated it
  int damages = 0;  // times that an input turned out unreadable

  bool known() const { return result.trace != nullptr; }
  bool settled() const { return phase == Phase::found || phase == Phase::computed || phase == Phase::failed; }
};

// The nodes that are wanted and what became of them. A node is looked for as soon as the contents of its inputs are
// known, and becomes ready when it is not found and its inputs' bytes are there: bytes of a found node are asked for
// only where a node that must be computed reads them, so what is found stays found when blobs below it are gone. Owns
// the entries, which never move.
class NodeTable {
 public:
  NodeTable(const EvaluatorOptions& options, const Catalogue& catalogue, Store& store, EvaluationObserver& observer);

  Entry& request(const NodeRef& node);
  Entry* find(const NodeRef& node) const;
  const std::vector<Entry*>& ready() const { return ready_; }
  const std::vector<Entry*>& all() const { return in_order_; }

  void start(Entry& entry);     // ready -> running
  void put_back(Entry& entry);  // running -> ready
  void computed(Entry& entry, const Trace* trace);
  void fail(Entry& entry, const std::string& message, const std::string& refusal = "");
  // The bytes of the entry's result cannot be read: it has to be computed again. `user`, if any, then starts anew.
  void lost(Entry& entry, Entry* user);
  // Looks again for a node that is about to be computed: another process may have done so. True if it was found.
  bool look_again(Entry& entry);

  // Keys of values that are wanted, or that something not settled yet reads.
  std::set<Hash> keys_in_use() const;
  // The bytes of these values are gone: whoever wants them later waits until they have been made again.
  void dropped(const std::set<Hash>& keys);

  // Requested entries that were settled since the last call, not counting those that `request` settled itself.
  int take_settled();
  const KeySources& key_sources() const { return sources_; }

 private:
  Entry& add(const NodeRef& node);
  void advance(Entry& first);
  void step(Entry& entry);
  bool inputs_known(Entry& entry);
  const Trace* recorded_trace(const Node& node) const;
  bool look_up(Entry& entry);
  bool inputs_at_hand(Entry& entry);
  void need_blobs(Entry& entry);
  void settle(Entry& entry, Entry::Phase phase);
  void wake(Entry& entry) { awake_.push_back(&entry); }
  void wake_users(Entry& entry);

  const EvaluatorOptions& options_;
  Store& store_;
  EvaluationObserver& observer_;
  KeySources sources_;
  std::unordered_map<Hash, std::unique_ptr<Entry>> entries_;  // by structure
  std::vector<Entry*> in_order_, ready_;
  std::deque<Entry*> awake_;
  bool requesting_ = false;
  int settled_ = 0;
};

}  // namespace colonnade::host
