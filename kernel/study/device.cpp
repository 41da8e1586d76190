#include "kernel/study/device.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <system_error>
#include <vector>

#include "colonnade/error.h"
#include "kernel/plugin/host_files.h"
#include "kernel/study/lock.h"

namespace colonnade::host {
namespace {

// Every process that uses an NVIDIA device opens it; a container without one does not have it either.
constexpr const char* control_file = "/dev/nvidiactl";

constexpr const char* cuda_library = "libtorch_cuda.so";
// LibTorch's folder beside the SDK's libraries.
constexpr const char* torch_folder = "libtorch";

std::string missing(const CudaSupport& support) {
  if (!support.device) return fmt::format("this machine has no CUDA device ({} is not there)", control_file);
  if (!support.plugin.empty()) {
    return fmt::format("plugin '{}' is {}; `./bootstrap build --cuda` builds it", cuda_device, support.plugin);
  }
  if (!support.library) {
    return fmt::format(
        "{} is neither beside LibTorch's other libraries nor in a folder of LD_LIBRARY_PATH; "
        "`./bootstrap build --cuda` fetches it",
        cuda_library);
  }
  return "no plugin that was found computes on CUDA: every op here runs on the CPU";
}

// Where the dynamic linker will look.
bool has_cuda_library() {
  std::vector<std::filesystem::path> folders = {sdk_library().parent_path() / torch_folder};
  const char* listed = std::getenv("LD_LIBRARY_PATH");
  std::istringstream more(listed == nullptr ? "" : listed);
  for (std::string folder; std::getline(more, folder, ':');) folders.emplace_back(folder);
  return std::any_of(folders.begin(), folders.end(), [](const std::filesystem::path& folder) {
    std::error_code error;
    return std::filesystem::exists(folder / cuda_library, error);
  });
}

std::string why_disabled(const Catalogue& catalogue) {
  const PluginInfo* plugin = catalogue.find_plugin(cuda_device);
  if (plugin == nullptr) return "not in this build";
  return plugin->disabled.empty() ? "" : "disabled: " + plugin->disabled;
}

}  // namespace

CudaSupport find_cuda(const Catalogue& catalogue) {
  std::error_code error;
  const auto ops = catalogue.ops();
  const bool follows =
      std::any_of(ops.begin(), ops.end(), [](const OpSchema* schema) { return schema->device != "cpu"; });
  return {std::filesystem::exists(control_file, error), why_disabled(catalogue), has_cuda_library(), follows};
}

std::string resolve_device(const std::string& asked, const std::string& origin, const CudaSupport& support) {
  if (asked == "auto") return support.complete() ? cuda_device : cpu_device;
  if (asked != cuda_device || support.complete()) return asked;
  throw Error(ErrorKind::environment,
              fmt::format("{}: device = \"cuda\", but {}; allowed here: cpu, auto", origin, missing(support)));
}

void check_devices(const StudyDescription& description, const CudaSupport& support) {
  if (support.complete()) return;
  for (const NodeRef& node : template_nodes(description)) {
    if (node->device != cuda_device) continue;
    throw Error(ErrorKind::environment,
                fmt::format("{}:{}: {} has device = 'cuda', but {}; allowed here: 'cpu'", node->where.file,
                            node->where.line, node->schema->name, missing(support)));
  }
}

}  // namespace colonnade::host
