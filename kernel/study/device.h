#pragma once

#include <string>

#include "kernel/plugin/catalogue.h"
#include "kernel/study/study.h"

namespace colonnade::host {

struct CudaSupport {
  bool device = false;            // this machine has one that processes can use
  std::string plugin = "absent";  // why the plugin of the device cannot be used; "" if it can
  bool library = false;           // LibTorch's part for it is there
  bool ops = false;               // an op that was found follows the study's device

  bool complete() const { return device && plugin.empty() && library && ops; }
};
CudaSupport find_cuda(const Catalogue& catalogue);

// The device that a study asks for ("cpu", "auto", "cuda") as it stands in the lock: "cpu" or "cuda". `auto` is cuda
// where there is support for it. Error(environment) if cuda was asked for and cannot be had; `origin` opens the message
// ("--set", "study.toml:3").
std::string resolve_device(const std::string& asked, const std::string& origin, const CudaSupport& support);

// Error(environment), at the study's line, for the first node that asks for a device that cannot be had.
void check_devices(const StudyDescription& description, const CudaSupport& support);

}  // namespace colonnade::host
