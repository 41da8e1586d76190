#include "kernel/evaluate/node_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "colonnade/error.h"
#include "kernel/evaluate/key_sources.h"

namespace colonnade::host {

namespace {

using Phase = Entry::Phase;

}  // namespace

NodeTable::NodeTable(const EvaluatorOptions& options, const Catalogue& catalogue, Store& store,
                     EvaluationObserver& observer)
    : options_(options),
      store_(store),
      observer_(observer),
      sources_(make_key_sources(catalogue, options.cache_folder)) {}

Entry* NodeTable::find(const NodeRef& node) const {
  const auto found = entries_.find(node->structure);
  return found == entries_.end() ? nullptr : found->second.get();
}

Entry& NodeTable::request(const NodeRef& node) {
  if (node->symbolic)
    throw std::logic_error(fmt::format("{} was requested before its seed was bound", node->short_name()));
  requesting_ = true;
  Entry& entry = add(node);
  entry.requested = true;
  need_blobs(entry);
  advance(entry);
  requesting_ = false;
  return entry;
}

// Of a node whose recorded value is at hand.
const Trace* NodeTable::recorded_trace(const Node& node) const {
  const auto recorded = options_.recorded.find(node.structure);
  return recorded == options_.recorded.end() ? nullptr : store_.find(recorded->second);
}

Entry& NodeTable::add(const NodeRef& target) {
  if (Entry* known = find(target)) return *known;
  // Inputs before users; what is known already is not looked into again.
  std::vector<std::pair<NodeRef, std::size_t>> stack = {{target, 0}};
  while (!stack.empty()) {
    auto& [node, next] = stack.back();
    const Trace* recorded = recorded_trace(*node);
    if (!recorded && next < node->inputs.size()) {
      const NodeRef input = node->inputs[next++].from.node;
      if (!find(input)) stack.emplace_back(input, 0);
      continue;
    }
    if (!find(node)) {
      auto entry = std::make_unique<Entry>();
      entry->node = node;
      entry->order = in_order_.size();
      if (recorded) {
        entry->taken = true;
        entry->result = {recorded->key, recorded, true};
      }
      for (const NodeInput& input : recorded ? std::vector<NodeInput>() : node->inputs) {
        Entry* source = find(input.from.node);
        entry->inputs.push_back(source);
        if (source->users.empty() || source->users.back() != entry.get()) source->users.push_back(entry.get());
      }
      in_order_.push_back(entry.get());
      wake(*entry);
      entries_.emplace(node->structure, std::move(entry));
    }
    stack.pop_back();
  }
  return *find(target);
}

void NodeTable::advance(Entry& first) {
  wake(first);
  while (!awake_.empty()) {
    Entry* entry = awake_.front();
    awake_.pop_front();
    if (entry->phase == Phase::waiting) step(*entry);
  }
}

void NodeTable::step(Entry& entry) {
  if (!inputs_known(entry)) return;
  if (!entry.known() && !look_up(entry)) return;
  if (entry.known() && (!entry.needs_blobs || store_.has_blobs(entry.result.trace->manifest))) {
    settle(entry, Phase::found);
    return;
  }
  if (entry.taken) return fail(entry, fmt::format("the recorded value of {} is damaged", entry.node->short_name()));
  if (!inputs_at_hand(entry)) return;
  entry.phase = Phase::ready;
  ready_.push_back(&entry);
}

bool NodeTable::inputs_known(Entry& entry) {
  bool known = true;
  for (const Entry* input : entry.inputs) {
    if (input->phase == Phase::failed) {
      const NodeFailure& cause = input->failure;
      const bool inherited = cause.origin != input->node;
      entry.failure.origin = cause.origin;
      entry.failure.refusal = cause.refusal;
      entry.failure.message =
          inherited ? cause.message
                    : fmt::format("not evaluated, because {} failed: {}", input->node->short_name(), cause.message);
      settle(entry, Phase::failed);
      return false;
    }
    known = known && input->known();
  }
  return known;
}

// Makes the key and looks for its trace. False if that failed.
bool NodeTable::look_up(Entry& entry) {
  try {
    if (!entry.key) {
      const auto manifest_of = [this](const NodeRef& node) -> const Manifest& {
        return find(node)->result.trace->manifest;
      };
      entry.key = make_key(*entry.node, key_inputs(*entry.node, manifest_of), options_.environment, sources_);
      entry.result.key = entry.key->key;
    }
  } catch (const Error& error) {
    fail(entry, error.what());
    return false;
  }
  const auto recorded = options_.recorded.find(entry.node->structure);
  if (recorded != options_.recorded.end() && recorded->second != entry.key->key) {
    fail(entry, fmt::format("the store has not kept the recorded value of {}, and it cannot be made again: its code or "
                            "what it reads is not what it was ('colonnade why' says what changed)",
                            entry.node->short_name()));
    return false;
  }
  if (options_.ignore_traces) return true;
  entry.result.trace = store_.find_even_without_blobs(entry.key->key);
  entry.result.found = entry.known();
  if (entry.known()) wake_users(entry);
  return true;
}

bool NodeTable::inputs_at_hand(Entry& entry) {
  bool at_hand = true;
  for (Entry* input : entry.inputs) {
    need_blobs(*input);
    at_hand = at_hand && (input->phase == Phase::found || input->phase == Phase::computed);
  }
  return at_hand;
}

void NodeTable::need_blobs(Entry& entry) {
  if (entry.needs_blobs) return;
  entry.needs_blobs = true;
  if (entry.phase != Phase::found || store_.has_blobs(entry.result.trace->manifest)) return;
  entry.phase = Phase::waiting;
  wake(entry);
}

void NodeTable::wake_users(Entry& entry) {
  for (Entry* user : entry.users) wake(*user);
}

void NodeTable::settle(Entry& entry, Phase phase) {
  entry.phase = phase;
  if (entry.requested && !requesting_) ++settled_;
  if (phase == Phase::found) observer_.on_found(entry.node, entry.result);
  if (phase == Phase::failed) observer_.on_failed(entry.node, entry.failure);
  wake_users(entry);
}

void NodeTable::start(Entry& entry) {
  entry.phase = Phase::running;
  ready_.erase(std::find(ready_.begin(), ready_.end(), &entry));
}

void NodeTable::put_back(Entry& entry) {
  entry.phase = Phase::ready;
  ready_.push_back(&entry);
}

void NodeTable::computed(Entry& entry, const Trace* trace) {
  entry.result.trace = trace;
  entry.result.found = false;
  settle(entry, Phase::computed);
  advance(entry);
}

void NodeTable::fail(Entry& entry, const std::string& message, const std::string& refusal) {
  entry.failure = {message, entry.node, refusal};
  settle(entry, Phase::failed);
  if (!requesting_) advance(entry);
}

void NodeTable::lost(Entry& entry, Entry* user) {
  if (user) {
    user->phase = Phase::waiting;
    wake(*user);
  }
  if (entry.phase == Phase::found || entry.phase == Phase::computed) entry.phase = Phase::waiting;
  entry.needs_blobs = true;
  for (Entry* reader : entry.users) {
    if (reader->phase != Phase::ready) continue;
    ready_.erase(std::find(ready_.begin(), ready_.end(), reader));
    reader->phase = Phase::waiting;  // woken when the entry is there again
  }
  advance(entry);
}

bool NodeTable::look_again(Entry& entry) {
  if (options_.ignore_traces || entry.known()) return false;
  const Trace* trace = store_.find(entry.key->key);
  if (!trace) return false;
  ready_.erase(std::find(ready_.begin(), ready_.end(), &entry));
  entry.result.trace = trace;
  entry.result.found = true;
  settle(entry, Phase::found);
  advance(entry);
  return true;
}

std::set<Hash> NodeTable::keys_in_use() const {
  std::set<Hash> keys;
  for (const Entry* entry : in_order_) {
    if (entry->requested && entry->known()) keys.insert(entry->result.key);
    if (entry->settled()) continue;
    for (const Entry* input : entry->inputs) {
      if (input->known()) keys.insert(input->result.key);
    }
  }
  return keys;
}

void NodeTable::dropped(const std::set<Hash>& keys) {
  if (keys.empty()) return;
  for (Entry* entry : in_order_) {
    const bool has_value = entry->phase == Phase::found || entry->phase == Phase::computed;
    if (has_value && keys.contains(entry->result.key)) {
      entry->phase = Phase::found;
      entry->needs_blobs = false;
    }
  }
}

int NodeTable::take_settled() {
  return std::exchange(settled_, 0);
}

}  // namespace colonnade::host
