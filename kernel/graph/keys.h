#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kernel/graph/node.h"

namespace colonnade::host {

// What every key of a run has in common: the numeric environment that the coordinator sets for its workers.
struct NumericEnvironment {
  std::string device = "cpu";     // the study's default, resolved
  int threads = 1;                // of a worker
  std::string simd = "portable";  // "portable" (AVX2's bits everywhere) or "native"
  std::string cpu_model;          // set for native only
  std::map<std::string, std::string>
      variables;  // OMP_NUM_THREADS, ATEN_CPU_CAPABILITY, MKL_CBWR, ONEDNN_MAX_CPU_ISA, ...
};
NumericEnvironment numeric_environment(const std::string& device, int threads, const std::string& simd);
Json to_json(const NumericEnvironment& environment);
std::string cpu_model();  // as the system names the processor

// One input as the key sees it.
struct KeyInput {
  std::string role;
  Hash content;
  std::set<std::string> carries;  // plugins whose code the field needs
};

// Supplied by the plugin catalogue: what stands for a plugin's code (binary hash, or declared version with
// --trust-versions), its required plugins included; and a path parameter's content hash.
struct KeySources {
  // {"NAME": "hash...", "sdk": "...", "torch": "2.11.0+cu130"}
  std::function<Json(const std::string& plugin, const std::string& device)> code;
  std::function<Hash(const std::string& path)> path_content;
  std::function<const OpSchema*(const std::string& op)> schema;  // for recipes' plugins
  std::string machine;                                           // identity for measured ops
  std::string card;                                              // for nodes on CUDA
};

// The key of a node whose inputs' contents are known: `record` names every part (so that `why` can say what changed),
// `key` is SHA-256 of its canonical encoding.
struct NodeKey {
  Hash key;
  Json record;
  std::set<std::string> plugins;  // all that a worker must load to evaluate it, without required ones
};
NodeKey make_key(const Node& node, const std::vector<KeyInput>& inputs, const NumericEnvironment& environment,
                 const KeySources& sources);

// The parameters as the key sees them: contents in place of paths, recipes with their ops' versions. Adds the plugins
// that recipes name to `plugins`.
Json key_params(const OpSchema& schema, const Json& params, const KeySources& sources, std::set<std::string>& plugins);

// Where the node is evaluated: its own device, else the study's if its op follows it.
std::string device_of(const Node& node, const NumericEnvironment& environment);
// Which of its seed's streams of random numbers it draws from: the user's choice, else its occurrence.
std::uint64_t stream_of(const Node& node);

// The names of the parts in which two key records differ, dotted ("params.rank", "inputs.data", "code.NAME"), each
// with both sides.
struct KeyDifference {
  std::string part;
  Json before, after;
};
std::vector<KeyDifference> compare_keys(const Json& before, const Json& after);

// How such a name tells several inputs of one role apart: "data", "data#2", ...; `occurrence` counts from 1.
std::string numbered_role(const std::string& role, int occurrence);

}  // namespace colonnade::host
