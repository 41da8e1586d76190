#include "kernel/study/device.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "colonnade/error.h"
#include "kernel/study/lock.h"

namespace colonnade::host {
namespace {

// Every process that uses an NVIDIA device opens it; a container without one does not have it either.
constexpr const char* control_file = "/dev/nvidiactl";

std::string missing(const CudaSupport& support) {
  if (!support.device) return fmt::format("this machine has no CUDA device ({} is not there)", control_file);
  return "no plugin that was found computes on CUDA: every op here runs on the CPU";
}

}  // namespace

CudaSupport find_cuda(const Catalogue& catalogue) {
  std::error_code error;
  const auto ops = catalogue.ops();
  const bool follows =
      std::any_of(ops.begin(), ops.end(), [](const OpSchema* schema) { return schema->device != "cpu"; });
  return {std::filesystem::exists(control_file, error), follows};
}

std::string resolve_device(const std::string& asked, const std::string& origin, const CudaSupport& support) {
  const bool has_cuda = support.device && support.ops;
  if (asked == "auto") return has_cuda ? "cuda" : "cpu";
  if (asked != "cuda" || has_cuda) return asked;
  throw Error(ErrorKind::environment,
              fmt::format("{}: device = \"cuda\", but {}; allowed here: cpu, auto", origin, missing(support)));
}

void check_devices(const StudyDescription& description, const CudaSupport& support) {
  if (support.device) return;
  for (const NodeRef& node : template_nodes(description)) {
    if (node->device != "cuda") continue;
    throw Error(ErrorKind::environment,
                fmt::format("{}:{}: {} has device = 'cuda', but {}; allowed here: 'cpu'", node->where.file,
                            node->where.line, node->schema->name, missing(support)));
  }
}

}  // namespace colonnade::host
