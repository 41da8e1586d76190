#include "kernel/plugin/stamp.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <string_view>

#include "colonnade/error.h"
#include "colonnade/plugin.h"
#include "kernel/plugin/elf_section.h"
#include "kernel/plugin/host_files.h"

namespace colonnade::host {

namespace {

constexpr const char* section_name = "colonnade_stamp";
constexpr std::string_view first_line = "colonnade-stamp=1";
constexpr const char* host_abi_type = "cpp";
constexpr const char* no_torch = "none";
constexpr const char* host_standard = COLONNADE_STRINGIFY(__cplusplus);
constexpr const char* host_cxx11_abi = COLONNADE_STRINGIFY(_GLIBCXX_USE_CXX11_ABI);

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& why) {
  throw Error(ErrorKind::environment, fmt::format("{} {}", file.string(), why));
}

bool is_plugin_name(std::string_view name) {
  const auto fits = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  return !name.empty() && name[0] >= 'a' && name[0] <= 'z' && std::all_of(name.begin(), name.end(), fits);
}

std::vector<std::string> split_names(const std::string& text, const std::filesystem::path& file) {
  std::vector<std::string> names;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find(';', start), text.size());
    names.push_back(text.substr(start, end - start));
    if (!is_plugin_name(names.back()))
      refuse(file, fmt::format("has a stamp that names the plugin '{}'", names.back()));
    start = end + 1;
  }
  return names;
}

std::map<std::string, std::string> read_pairs(std::string_view text, const std::filesystem::path& file) {
  std::map<std::string, std::string> pairs;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const bool printable = std::all_of(line.begin(), line.end(), [](char c) { return c >= ' ' && c <= '~'; });
    const std::size_t equals = line.find('=');
    if (!printable || equals == std::string_view::npos) refuse(file, "has a damaged stamp: a line is not key=value");
    if (!pairs.emplace(line.substr(0, equals), line.substr(equals + 1)).second) {
      refuse(file, fmt::format("has a damaged stamp: '{}' is in it twice", line.substr(0, equals)));
    }
  }
  return pairs;
}

}  // namespace

Stamp read_stamp(const std::filesystem::path& file) {
  const std::optional<std::string> section = read_elf_section(file, section_name);
  if (!section) {
    refuse(file,
           "has no stamp (no section 'colonnade_stamp'): end one source file with COLONNADE_PLUGIN(...) and build it "
           "with colonnade_add_plugin");
  }
  const std::size_t end = section->find('\0');
  if (end == std::string::npos || section->find_first_not_of('\0', end) != std::string::npos) {
    refuse(file, "has a damaged stamp, or two: COLONNADE_PLUGIN(...) stands in one source file of a plugin");
  }
  const std::string_view text = std::string_view(*section).substr(0, end);
  if (text.substr(0, text.find('\n')) != first_line) {
    refuse(file, fmt::format("has a stamp of another format than this host reads ({})", first_line));
  }
  const std::map<std::string, std::string> pairs = read_pairs(text, file);
  const auto at = [&](const char* key) -> const std::string& {
    const auto found = pairs.find(key);
    if (found == pairs.end()) refuse(file, fmt::format("has a damaged stamp: '{}' is missing", key));
    return found->second;
  };
  Stamp stamp;
  stamp.name = at("name");
  if (!is_plugin_name(stamp.name)) refuse(file, fmt::format("has a stamp with the impossible name '{}'", stamp.name));
  stamp.version = at("version");
  const std::string& abi = at("abi");
  const auto parsed = std::from_chars(abi.data(), abi.data() + abi.size(), stamp.abi);
  if (parsed.ec != std::errc() || parsed.ptr != abi.data() + abi.size()) {
    refuse(file, fmt::format("has a damaged stamp: the ABI '{}' is no number", abi));
  }
  stamp.abi_type = at("abi_type");
  stamp.torch = at("torch");
  stamp.compiler = at("compiler");
  stamp.standard = at("standard");
  stamp.cxx11_abi = at("cxx11_abi");
  stamp.requires_plugins = split_names(at("requires"), file);
  stamp.extends_plugins = split_names(at("extends"), file);
  return stamp;
}

std::vector<std::string> mismatches(const Stamp& stamp, const std::filesystem::path& file) {
  std::vector<std::string> found;
  if (file.filename() != stamp.name + ".plugin.so") {
    found.push_back(fmt::format("its stamp names it '{0}', its file is {1}; call the file {0}.plugin.so", stamp.name,
                                file.filename().string()));
  }
  for (const char* reserved : {"sdk", "tensor", "torch"}) {
    if (stamp.name == reserved)
      found.push_back(fmt::format("'{}' is the name of a part of Colonnade; give it another", reserved));
  }
  if (stamp.abi != COLONNADE_SDK_ABI) {
    found.push_back(
        fmt::format("it was built for SDK ABI {}, this host has SDK ABI {}; build it again with this Colonnade's SDK",
                    stamp.abi, COLONNADE_SDK_ABI));
  }
  if (stamp.abi_type != host_abi_type) {
    found.push_back(fmt::format("its ABI is of type '{}', this host loads '{}'; build it with this Colonnade's SDK",
                                stamp.abi_type, host_abi_type));
  }
  const auto must_equal = [&](const std::string& theirs, const std::string& ours, const char* what, const char* fix) {
    if (theirs == ours) return;
    found.push_back(fmt::format("it was built with {0} {1}, this host with {0} {2}; {3} {2}", what, theirs, ours, fix));
  };
  if (stamp.torch != no_torch && !host_torch_version()) {
    found.push_back(
        fmt::format("it needs LibTorch {}, this host was built without LibTorch; build Colonnade with LibTorch {}",
                    stamp.torch, stamp.torch));
  } else if (stamp.torch != no_torch) {
    must_equal(stamp.torch, *host_torch_version(), "LibTorch", "build it again with LibTorch");
  }
  must_equal(stamp.compiler, COLONNADE_COMPILER, "the compiler", "build it with");
  must_equal(stamp.standard, host_standard, "the C++ standard", "build it as");
  must_equal(stamp.cxx11_abi, host_cxx11_abi, "_GLIBCXX_USE_CXX11_ABI", "set it to");
  return found;
}

}  // namespace colonnade::host
