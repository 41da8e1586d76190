#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "colonnade/schema.h"
#include "kernel/graph/node.h"
#include "kernel/lua/binding.h"

namespace colonnade::host {

// What scripts hold. All are immutable and compare by what they stand for.

// An op application in the graph; stands for its first output where a field is wanted.
struct NodeHandle {
  NodeRef node;
};

struct FieldHandle {
  FieldRef field;
};

// An op with some of its parameters and inputs.
struct Application {
  const OpSchema* schema = nullptr;
  Json params = Json::object();  // as given, not completed
  std::vector<NodeInput> inputs;
  std::optional<SeedBinding> seed;
  std::optional<std::uint64_t> stream;
  std::string device, label;
};

// An op that waits for its first input.
struct RecipeHandle {
  Application application;
};

// `col.seed`: the number that every trial binds to its own.
struct SeedHandle {};

// A figure, or a part of the report.
struct Declaration {
  std::string kind;  // "figure", "comparison", "effects", "target", "section"
  Json document;
  std::string position;  // "study.lua:12: ", to open messages
};

// What col.study returns. The description itself is kept by the host.
struct StudyHandle {};

template <>
inline constexpr const char* lua_type_name<NodeHandle> = "node";
template <>
inline constexpr const char* lua_type_name<FieldHandle> = "field";
template <>
inline constexpr const char* lua_type_name<RecipeHandle> = "recipe";
template <>
inline constexpr const char* lua_type_name<SeedHandle> = "seed";
template <>
inline constexpr const char* lua_type_name<Declaration> = "declaration";
template <>
inline constexpr const char* lua_type_name<StudyHandle> = "study";

void register_handles(lua_State* L);

// The node or field at `index` as a field: a node is its first output. No value for anything else.
std::optional<FieldRef> field_at(lua_State* L, int index);

// Whether a field of this type can be used where `wanted` is; "any" fits on either side and is checked when it is
// evaluated.
bool type_fits(const std::string& given, const std::string& wanted);
const OutputSpec& output_of(const FieldRef& field);

}  // namespace colonnade::host
