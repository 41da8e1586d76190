// A pickle read as data. Python's own reader runs whatever a pickle names; this one knows a handful of names, and only
// as names.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace colonnade {

struct PickleValue;
using PickleRef = std::shared_ptr<const PickleValue>;

struct PickleNone {};
/// A name of the module's, never looked up.
struct PickleGlobal {
  std::string module, name;
  std::string full() const { return module + "." + name; }
};
struct PickleTuple {
  std::vector<PickleRef> items;
};
/// Lists and tuples alike keep their order; `entries` of a dictionary that of the file.
struct PickleList {
  mutable std::vector<PickleRef> items;
};
struct PickleDict {
  mutable std::vector<std::pair<PickleRef, PickleRef>> entries;
};
/// What a name was called with; nothing is called.
struct PickleCall {
  PickleGlobal function;
  PickleRef arguments;
};
/// What the file around the pickle holds, by a key of its own (a tensor's bytes).
struct PicklePersistent {
  PickleRef key;
};

struct PickleValue {
  std::variant<PickleNone, bool, std::int64_t, double, std::string, PickleGlobal, PickleTuple, PickleList, PickleDict,
               PickleCall, PicklePersistent>
      value;
  mutable int depth = 0;        // of nesting
  mutable bool inside = false;  // another value: it no longer changes, so that no value contains itself

  template <typename T>
  const T* as() const {
    return std::get_if<T>(&value);
  }
};

/// Throws Error(input) naming `where` for a pickle that is damaged, nested deeper than any of weights, or uses what
/// pickles of weights do not.
PickleRef read_pickle(std::string_view bytes, const std::string& where);

}  // namespace colonnade
