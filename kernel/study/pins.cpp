#include "kernel/study/pins.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <system_error>

#include "colonnade/error.h"
#include "colonnade/text.h"
#include "kernel/store/files.h"
#include "kernel/store/store.h"
#include "kernel/study/hints.h"

namespace colonnade::host {
namespace {

namespace fs = std::filesystem;

// Names hold what file names cannot.
fs::path file_of(const fs::path& store, const std::string& name) {
  return store / "pins" / (hash_bytes(name).short_hex() + ".json");
}

Pin read_pin(const fs::path& file) {
  const Json document = Json::parse(read_file_if_there(file).value_or(""), nullptr, false);
  Pin pin;
  try {
    pin.name = document.at("name").get<std::string>();
    for (const Json& key : document.at("keys")) pin.keys.insert(Hash::from_hex(key.get<std::string>()));
  } catch (const std::exception&) {
    throw Error(
        ErrorKind::environment,
        fmt::format("{}: this pin is damaged, so what it keeps is not known; remove the file to give its values up",
                    file.string()));
  }
  return pin;
}

// What `what` would be pinned as ("last:base" stands for another run every day), itself if there is no such run.
std::string name_of_pin(const fs::path& runs, const std::string& what) {
  try {
    return pin_of(runs, what).name;
  } catch (const Error&) {
    return what;
  }
}

// The last part of a run's name is its id.
bool is_meant(const Pin& pin, const std::string& name) {
  return pin.name == name || (!name.empty() && pin.name.ends_with("-" + name));
}

}  // namespace

Pin pin_of(const fs::path& runs, const std::string& what) {
  const auto colon = what.find(':');
  const RunFolder folder = resolve_run(runs, what.substr(0, colon));
  RunHistory history;
  for (const Json& event : read_journal(folder.journal()).events) history.apply(event);
  Pin pin{folder.name(), {}};
  if (colon != std::string::npos) {
    const NodeRecord& node = resolve_node(history, what.substr(colon + 1));
    pin.name += ":" + (node.label.empty() ? node.short_name() : node.label);
    if (node.failure.empty()) pin.keys.insert(node.key);
  } else {
    for (const NodeRecord& node : history.nodes) {
      if (node.failure.empty()) pin.keys.insert(node.key);
    }
  }
  if (pin.keys.empty()) throw Error(ErrorKind::usage, fmt::format("{}: nothing to pin: it has no value yet", pin.name));
  return pin;
}

std::vector<Pin> read_pins(const fs::path& store) {
  std::vector<Pin> pins;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(store / "pins", error)) {
    if (entry.path().extension() == ".json") pins.push_back(read_pin(entry.path()));
  }
  std::sort(pins.begin(), pins.end(), [](const Pin& a, const Pin& b) { return a.name < b.name; });
  return pins;
}

void add_pin(const fs::path& store, const Pin& pin) {
  Json keys = Json::array();
  for (const Hash& key : pin.keys) keys.push_back(key.hex());
  const fs::path file = file_of(store, pin.name);
  make_folder(file.parent_path());
  write_file_atomically(file, json_text({{"name", pin.name}, {"keys", keys}}) + "\n");
}

Pin remove_pin(const fs::path& store, const fs::path& runs, const std::string& name) {
  const std::vector<Pin> pins = read_pins(store);
  const bool by_name = std::any_of(pins.begin(), pins.end(), [&](const Pin& pin) { return is_meant(pin, name); });
  const std::string pinned = by_name ? name : name_of_pin(runs, name);
  std::vector<std::string> names;
  for (const Pin& pin : pins) names.push_back(pin.name);
  const auto found = std::find_if(pins.begin(), pins.end(), [&](const Pin& pin) { return is_meant(pin, pinned); });
  if (found == pins.end()) {
    const std::string list = names.empty() ? "there are none" : fmt::format("pins: {}", fmt::join(names, ", "));
    throw Error(ErrorKind::usage, fmt::format("no pin '{}'{}", name, then(did_you_mean(name, names), list)));
  }
  std::error_code error;
  fs::remove(file_of(store, found->name), error);
  if (error) throw_file_error("remove", file_of(store, found->name), error.value());
  return *found;
}

}  // namespace colonnade::host
