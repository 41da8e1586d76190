#include "kernel/study/settings.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <thread>

#include "colonnade/error.h"
#include "colonnade/text.h"
#include "kernel/study/hints.h"
#include "kernel/study/locate.h"
#include "kernel/study/toml_file.h"

namespace colonnade::host {
namespace {

namespace fs = std::filesystem;

constexpr const char* profiles_key = "profiles";
constexpr const char* command_line = "--set";
constexpr std::string_view option_prefix = "--", disabling_prefix = "--disable-";
constexpr int most_threads = 1024;
const std::vector<std::string> reserved = {"threads",
                                           "workers",
                                           "device",
                                           "simd",
                                           "retries",
                                           "seeds",
                                           "plugins",
                                           "visualization",
                                           "checkpoint_seconds",
                                           "store_gigabytes",
                                           "drop_below_seconds"};

std::string first_part(const std::string& dotted) {
  return dotted.substr(0, dotted.find('.'));
}

bool is_reserved(const std::string& name) {
  return std::find(reserved.begin(), reserved.end(), first_part(name)) != reserved.end();
}

void collect_names(const Json& values, const std::string& prefix, std::vector<std::string>& names) {
  for (const auto& [key, value] : values.items()) {
    const std::string name = prefix.empty() ? key : prefix + "." + key;
    if (value.is_object()) {
      collect_names(value, name, names);
    } else {
      names.push_back(name);
    }
  }
}

std::string kind_of(const Json& value) {
  if (value.is_boolean()) return "a boolean";
  if (value.is_number_integer()) return "an integer";
  if (value.is_number()) return "a real number";
  if (value.is_string()) return "a string";
  if (value.is_array()) return "a list";
  return "a table";
}

// Brings an overriding value to the type that the setting has already, as far as nothing is lost.
Json fit(const Json& value, const std::string& text, const Json& present, const std::string& name,
         const std::string& by, const std::string& origin) {
  if (present.is_string() && !value.is_string() && !text.empty()) return text;
  if (present.is_number_float() && value.is_number_integer()) return value.get<double>();
  if (kind_of(value) == kind_of(present)) return value;
  throw Error(ErrorKind::usage, fmt::format("{}: {} = {} is {}, but {} has {} ({})", by, name, shown(value),
                                            kind_of(value), origin, kind_of(present), shown(present)));
}

void put(Json& values, const std::string& name, const Json& value, const std::string& by) {
  Json* place = &values;
  std::string_view rest = name;
  for (auto dot = rest.find('.'); dot != std::string_view::npos; dot = rest.find('.')) {
    Json& next = (*place)[std::string(rest.substr(0, dot))];
    if (next.is_null()) next = Json::object();
    if (!next.is_object()) {
      throw Error(ErrorKind::usage, fmt::format("{}: {}: '{}' is {}, not a table of settings", by, name,
                                                name.substr(0, rest.data() - name.data() + dot), kind_of(next)));
    }
    place = &next;
    rest.remove_prefix(dot + 1);
  }
  (*place)[std::string(rest)] = value;
}

struct Change {
  std::string name;
  Json value;
  std::string text;    // as typed, "" from a file
  std::string by;      // opens messages
  std::string origin;  // kept
};

void apply(Settings& settings, const Change& change) {
  Json value = change.value;
  if (const Json* present = find_setting(settings.values, change.name)) {
    if (present->is_object()) {
      throw Error(ErrorKind::usage, fmt::format("{}: {} is a table of settings: {}", change.by, change.name,
                                                fmt::join(setting_names(*present), ", ")));
    }
    if (!is_reserved(change.name)) {
      value = fit(value, change.text, *present, change.name, change.by, settings.origin_text(change.name, "the study"));
    }
  }
  put(settings.values, change.name, value, change.by);
  SettingOrigin& origin = settings.origin[change.name];
  origin.replaced = origin.text();
  origin.changed = change.origin;
}

Json absolute_on_command_line(const Json& value) {
  if (value.is_array()) {
    Json items = Json::array();
    for (const Json& item : value) items.push_back(absolute_on_command_line(item));
    return items;
  }
  if (!value.is_string() || value.get_ref<const std::string&>().empty()) return value;
  return fs::absolute(value.get<std::string>()).lexically_normal().string();
}

// "--epochs" and "--disable-visualization" stand for settings too; messages then speak of what was typed.
Change typed_change(const std::string& text) {
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw Error(ErrorKind::usage, fmt::format("{} {}: expected NAME=VALUE", command_line, text));
  }
  Change change;
  change.name = text.substr(0, equals);
  change.text = text.substr(equals + 1);
  change.origin = command_line;
  change.by = fmt::format("{} {}", command_line, change.name);
  if (!change.name.starts_with(option_prefix)) return change;
  change.origin = change.by = change.name;
  const bool disables = change.name.starts_with(disabling_prefix);
  change.name.erase(0, disables ? disabling_prefix.size() : option_prefix.size());
  std::replace(change.name.begin(), change.name.end(), '-', '_');
  return change;
}

void apply_override(Settings& settings, const std::string& text) {
  Change change = typed_change(text);
  const bool well_formed = !change.name.empty() && change.name.find("..") == std::string::npos &&
                           change.name.front() != '.' && change.name.back() != '.' &&
                           first_part(change.name) != profiles_key;
  if (!well_formed) throw Error(ErrorKind::usage, fmt::format("{}: no name of a setting", change.by));
  change.value = names_a_path(change.name) ? Json(change.text) : value_from_text(change.text);
  // What is typed is relative to where it is typed; what the file says is relative to the file.
  if (names_a_path(change.name) || change.name == "plugins") {
    if (change.name == "plugins") change.value = value_from_text(change.text);
    change.value = absolute_on_command_line(change.value);
    change.text.clear();
  }
  apply(settings, change);
}

void apply_profile(Settings& settings, const TomlFile& file, const std::string& profile, const std::string& file_name) {
  const std::string prefix = fmt::format("{}.{}", profiles_key, profile);
  const Json& table = file.values.at(profiles_key).at(profile);
  for (const std::string& name : setting_names(table)) {
    const auto line = file.lines.find(prefix + "." + name);
    const std::string by = line == file.lines.end() ? file_name : fmt::format("{}:{}", file_name, line->second);
    apply(settings, {name, *find_setting(table, name), "", by, fmt::format("{} (profile {})", by, profile)});
  }
}

std::string allowed_profiles(const Settings& settings) {
  if (settings.profiles.empty()) return "the study has no profiles";
  return fmt::format("profiles: {}", fmt::join(settings.profiles, ", "));
}

[[noreturn]] void refuse_value(const Settings& settings, const std::string& name, const std::string& allowed) {
  throw Error(ErrorKind::usage, fmt::format("{}: {} = {}; allowed: {}", settings.origin_text(name, "settings"), name,
                                            shown(*find_setting(settings.values, name)), allowed));
}

int read_count(const Settings& settings, const std::string& name, int low, int high, int fallback) {
  const Json* value = find_setting(settings.values, name);
  if (!value) return fallback;
  const bool fits = value->is_number_integer() && *value >= low && *value <= high;
  if (!fits) refuse_value(settings, name, fmt::format("an integer from {} to {}", low, high));
  return value->get<int>();
}

double read_number(const Settings& settings, const std::string& name, double fallback, const char* unit) {
  const Json* value = find_setting(settings.values, name);
  if (!value) return fallback;
  if (!value->is_number() || *value < 0) refuse_value(settings, name, fmt::format("{}, at least 0", unit));
  return value->get<double>();
}

std::string read_choice(const Settings& settings, const std::string& name, const std::vector<std::string>& choices) {
  const Json* value = find_setting(settings.values, name);
  if (!value) return choices.front();
  const bool fits = value->is_string() && std::find(choices.begin(), choices.end(), *value) != choices.end();
  if (!fits) refuse_value(settings, name, fmt::format("{}", fmt::join(choices, ", ")));
  return value->get<std::string>();
}

std::vector<std::uint64_t> read_seeds(const Settings& settings) {
  const Json* value = find_setting(settings.values, "seeds");
  if (!value) return {};
  const std::string allowed = "a list of different integers of at least 0, or how many seeds (0, 1, ...) to use";
  std::vector<std::uint64_t> seeds;
  if (value->is_number_integer() && *value >= 1 && *value <= 1'000'000) {
    for (std::uint64_t seed = 0; seed < value->get<std::uint64_t>(); ++seed) seeds.push_back(seed);
    return seeds;
  }
  if (!value->is_array() || value->empty()) refuse_value(settings, "seeds", allowed);
  for (const Json& seed : *value) {
    if (!seed.is_number_integer() || seed < 0) refuse_value(settings, "seeds", allowed);
    seeds.push_back(seed.get<std::uint64_t>());
  }
  if (std::set<std::uint64_t>(seeds.begin(), seeds.end()).size() != seeds.size()) {
    refuse_value(settings, "seeds", allowed);
  }
  return seeds;
}

}  // namespace

bool names_a_path(const std::string& setting) {
  const std::string last = setting.substr(setting.rfind('.') + 1);
  for (const std::string_view ending : {"path", "file", "folder"}) {
    if (last == ending) return true;
    if (last.size() > ending.size() && last.ends_with(ending) && last[last.size() - ending.size() - 1] == '_') {
      return true;
    }
  }
  return false;
}

const Json* find_setting(const Json& values, const std::string& dotted) {
  const Json* place = &values;
  std::size_t start = 0;
  while (true) {
    const auto dot = dotted.find('.', start);
    const std::string part = dotted.substr(start, dot == std::string::npos ? dot : dot - start);
    if (!place->is_object() || !place->contains(part)) return nullptr;
    place = &place->at(part);
    if (dot == std::string::npos) return place;
    start = dot + 1;
  }
}

std::vector<std::string> setting_names(const Json& values) {
  std::vector<std::string> names;
  collect_names(values, "", names);
  return names;
}

Settings load_settings(const fs::path& study, const std::string& profile, const std::vector<std::string>& overrides) {
  const StudyFiles files = locate_study(study);
  Settings settings;
  settings.study_folder = files.folder;
  TomlFile file;
  const std::string file_name = files.settings.lexically_proximate(fs::current_path()).string();
  if (fs::exists(files.settings)) file = read_toml(files.settings);
  for (const auto& [name, line] : file.lines) {
    if (first_part(name) != profiles_key) settings.origin[name].file = fmt::format("{}:{}", file_name, line);
  }
  settings.values = file.values;
  settings.values.erase(profiles_key);
  const Json profiles = file.values.value(profiles_key, Json::object());
  for (const auto& [name, table] : profiles.items()) {
    if (!table.is_object()) {
      throw Error(ErrorKind::usage,
                  fmt::format("{}:{}: profiles.{} is {}; a profile is a table of settings", file_name,
                              file.lines.at(std::string(profiles_key) + "." + name), name, kind_of(table)));
    }
    settings.profiles.push_back(name);
  }
  if (!profile.empty()) {
    if (!profiles.contains(profile)) {
      throw Error(ErrorKind::usage,
                  fmt::format("--profile {}: unknown profile{}", profile,
                              then(did_you_mean(profile, settings.profiles), allowed_profiles(settings))));
    }
    apply_profile(settings, file, profile, file_name);
  }
  for (const std::string& text : overrides) apply_override(settings, text);
  const HostSettings checked = host_settings(settings);
  if (!checked.seeds.empty()) settings.values["seeds"] = checked.seeds;
  return settings;
}

HostSettings host_settings(const Settings& settings) {
  HostSettings host;
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  host.threads = read_count(settings, "threads", 1, most_threads, 1);
  host.workers = read_count(settings, "workers", 1, most_threads, std::max(1, cores / host.threads));
  host.device = read_choice(settings, "device", {"cpu", "auto", "cuda"});
  host.simd = read_choice(settings, "simd", {"portable", "native"});
  host.retries = read_count(settings, "retries", 0, most_threads, 1);
  host.checkpoint_seconds = read_number(settings, "checkpoint_seconds", host.checkpoint_seconds, "seconds");
  host.store_gigabytes = read_number(settings, "store_gigabytes", host.store_gigabytes, "gigabytes");
  host.drop_below_seconds = read_number(settings, "drop_below_seconds", host.drop_below_seconds, "seconds");
  host.seeds = read_seeds(settings);
  if (const Json* draw = find_setting(settings.values, "visualization")) {
    if (!draw->is_boolean()) refuse_value(settings, "visualization", "true, false");
    host.visualization = draw->get<bool>();
  }
  if (const Json* plugins = find_setting(settings.values, "plugins")) {
    const Json list = plugins->is_string() ? Json::array({*plugins}) : *plugins;
    if (!list.is_array()) refuse_value(settings, "plugins", "a list of plugin files or folders");
    for (const Json& entry : list) {
      if (!entry.is_string()) refuse_value(settings, "plugins", "a list of plugin files or folders");
      host.plugins.push_back((settings.study_folder / entry.get<std::string>()).lexically_normal());
    }
  }
  return host;
}

namespace {

// Keys at the file's top level, outside all tables, that are neither the host's nor the study's. An adaptive arm may
// still ask for one, so that there only what looks like a slip is refused.
void refuse_unread_settings(const Settings& settings, const StudyDescription& description,
                            const std::vector<std::string>& read) {
  const bool is_open =
      std::any_of(description.arms.begin(), description.arms.end(), [](const Arm& arm) { return arm.adaptive; });
  for (const auto& [name, value] : settings.values.items()) {
    const auto origin = settings.origin.find(name);
    if (value.is_object() || origin == settings.origin.end()) continue;
    if (std::find(read.begin(), read.end(), name) != read.end()) continue;
    const std::string meant = did_you_mean(name, read);
    if (meant.empty() && is_open) continue;
    if (origin->second.file.empty()) continue;  // told of by its own name below
    throw Error(ErrorKind::usage,
                fmt::format("{}: nothing reads '{}'{}", origin->second.file, name,
                            then(meant, fmt::format("the study and the host read: {}", fmt::join(read, ", ")))));
  }
}

}  // namespace

void refuse_unknown_settings(const Settings& settings, const StudyDescription& description) {
  std::vector<std::string> known = reserved;
  for (const std::string& name : setting_names(description.used_settings)) known.push_back(name);
  for (const auto& [name, value] : description.used_settings.items()) known.push_back(name);
  // Set by a profile or --set where the file's top level has nothing.
  const auto is_new = [](const SettingOrigin& origin) { return origin.file.empty(); };
  refuse_unread_settings(settings, description, known);
  for (const auto& [name, origin] : settings.origin) {
    if (!is_new(origin)) known.push_back(name);
  }
  for (const auto& [name, origin] : settings.origin) {
    if (!is_new(origin) || std::find(known.begin(), known.end(), name) != known.end()) continue;
    // A setting may be asked for as a whole table.
    const bool inside = std::any_of(known.begin(), known.end(),
                                    [&, &dotted = name](const auto& other) { return dotted.starts_with(other + "."); });
    if (inside) continue;
    std::vector<std::string> settable(known);
    std::sort(settable.begin(), settable.end());
    settable.erase(std::unique(settable.begin(), settable.end()), settable.end());
    throw Error(ErrorKind::usage, fmt::format("{}: unknown setting '{}'{}", origin.text(), name,
                                              then(did_you_mean(name, settable),
                                                   fmt::format("this study has: {}", fmt::join(settable, ", ")))));
  }
}

}  // namespace colonnade::host
