#include "kernel/evaluate/results.h"

#include <fmt/format.h>

#include <ctime>
#include <utility>

#include "colonnade/error.h"
#include "kernel/evaluate/describe.h"
#include "kernel/evaluate/key_sources.h"

namespace colonnade::host {

namespace {

constexpr int kMaxDamages = 3;  // of one node's inputs: more means that the disk cannot be relied on

}  // namespace

// Group commit: traces are on the disk before anybody hears of them.
void Results::publish() {
  if (finished_.empty()) return;
  store_.commit();
  std::uint64_t bytes = 0;
  for (const Finished& finished : std::exchange(finished_, {})) {
    bytes += finished.entry->result.trace->manifest.bytes();
    if (finished.checkpointed) store_.drop_checkpoint(finished.entry->key->key);
    observer_.on_computed(finished.entry->node, finished.entry->result, finished.seconds);
  }
  dropping_.grown(bytes);
}

// The op read its files after they were hashed, perhaps long after: are they still the same? If not, the node has
// failed.
bool Results::files_changed(Entry& entry) {
  const Node& node = *entry.node;
  const KeySources& sources = table_.key_sources();
  if (paths_in(*node.schema, node.params, sources).empty()) return false;
  std::set<std::string> plugins;
  const KeySources fresh = with_paths_as_they_are(sources, cache_folder_);
  const Json now = key_params(*node.schema, node.params, fresh, plugins);
  const auto differences = compare_keys(entry.key->record.at("params"), now);
  if (differences.empty()) return false;
  table_.fail(entry, fmt::format("op {}: what its parameter '{}' names changed during this run; run again",
                                 node.schema->id(), differences.front().part));
  return true;
}

void Results::finish(Entry& entry, const Json& message) {
  Trace trace;
  try {
    if (files_changed(entry)) return;
    trace.manifest = manifest_from_json(message.at("manifest"));
  } catch (const Error& error) {
    table_.fail(entry, error.what());
    return;
  }
  trace.key = entry.key->key;
  trace.op = entry.node->schema->id();
  trace.op_class = class_name(entry.node->schema->op_class);
  trace.key_record = entry.key->record;
  trace.seconds = message.at("seconds").get<double>();
  trace.peak_memory = message.at("peak_memory").get<std::uint64_t>();
  trace.finished = std::time(nullptr);
  const double seconds = trace.seconds;
  const Trace* kept = record(entry, std::move(trace));
  if (!kept) return;
  finished_.push_back({&entry, seconds, message.at("checkpointed").get<bool>()});
  table_.computed(entry, kept);
}

// The trace that holds for the node's key: the first there ever was, if the op is bitwise, for what was computed from
// it must not be served for another value. nullptr if that one's bytes are gone and cannot be made again; the node has
// failed then.
const Trace* Results::record(Entry& entry, Trace trace) {
  const auto nondeterminism = store_.add(std::move(trace));
  const Hash& key = entry.key->key;
  if (!nondeterminism) {
    const Trace* found = store_.find(key);
    return found ? found : store_.find_even_without_blobs(key);
  }
  observer_.on_nondeterminism(entry.node, *nondeterminism);
  if (const Trace* first = store_.find(key)) return first;
  table_.fail(entry,
              fmt::format("op {} of plugin {} is not deterministic: evaluated again under the same key, its field{} {} "
                          "came out different, and the recorded bytes are gone",
                          entry.node->schema->id(), entry.node->schema->plugin,
                          nondeterminism->fields.size() == 1 ? "" : "s", fmt::join(nondeterminism->fields, ", ")));
  return nullptr;
}

void Results::input_unreadable(Entry& entry, const Json& message) {
  const std::size_t index = message.at("input").get<std::size_t>();
  const std::string reason = message.at("message").get<std::string>();
  Entry& input = *entry.inputs.at(index);
  if (++entry.damages > kMaxDamages) {
    table_.fail(entry, fmt::format("input '{}' of {} stayed unreadable: {}", entry.node->inputs[index].role,
                                   entry.node->schema->id(), reason));
    return;
  }
  observer_.on_message(fmt::format("{}; evaluating {} again", reason, input.node->short_name()));
  let_store_see(input, entry.node->inputs[index].from.field);
  table_.lost(input, &entry);
}

// The worker found the damage; this process's store has to find it too, or it would go on offering the value.
void Results::let_store_see(const Entry& entry, const std::string& field) {
  const Manifest& manifest = entry.result.trace->manifest;
  try {
    store_.get(manifest.fields.at(field), manifest);
  } catch (const DamagedBlob&) {
    return;
  }
}

}  // namespace colonnade::host
