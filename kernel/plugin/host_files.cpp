#include "kernel/plugin/host_files.h"

#include <link.h>

#include "colonnade/error.h"
#include "kernel/plugin/stamp.h"

namespace colonnade::host {

namespace {

constexpr const char* executable_name = "colonnade";
constexpr const char* sdk_name = "libcolonnade_sdk.so";
constexpr const char* tensor_name = "libcolonnade_tensor.so";

int note_sdk(dl_phdr_info* info, std::size_t, void* found) {
  const std::filesystem::path file = info->dlpi_name;
  if (file.filename() != sdk_name) return 0;
  *static_cast<std::filesystem::path*>(found) = file;
  return 1;
}

std::filesystem::path sibling(const char* folder, const char* name) {
  return (running_executable().parent_path().parent_path() / folder / name).lexically_normal();
}

}  // namespace

std::filesystem::path running_executable() {
  std::error_code error;
  const std::filesystem::path file = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error)
    throw Error(ErrorKind::environment, "cannot find out which executable runs: /proc/self/exe: " + error.message());
  return file;
}

std::filesystem::path host_executable() {
  const std::filesystem::path file = running_executable();
  return file.filename() == executable_name ? file : sibling("bin", executable_name);
}

std::filesystem::path sdk_library() {
  std::filesystem::path found;
  ::dl_iterate_phdr(note_sdk, &found);
  std::error_code error;
  const std::filesystem::path real =
      std::filesystem::canonical(found.empty() ? sibling("lib", sdk_name) : found, error);
  if (error) throw Error(ErrorKind::environment, "cannot find " + sibling("lib", sdk_name).string());
  return real;
}

std::optional<std::filesystem::path> tensor_library() {
  const std::filesystem::path file = sdk_library().parent_path() / tensor_name;
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return std::nullopt;
  return file;
}

const std::optional<std::string>& host_torch_version() {
  static const std::optional<std::string> version = []() -> std::optional<std::string> {
    const std::optional<std::filesystem::path> library = tensor_library();
    if (!library) return std::nullopt;
    return read_stamp(*library).torch;
  }();
  return version;
}

}  // namespace colonnade::host
