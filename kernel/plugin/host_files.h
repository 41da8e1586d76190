#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace colonnade::host {

// The host's own files, wherever it was installed or built.
std::filesystem::path running_executable();
// The executable `colonnade`: this process's own, or, in a test, the one beside it in bin/.
std::filesystem::path host_executable();
std::filesystem::path sdk_library();  // libcolonnade_sdk.so, as loaded here
// The SDK library with tensors, beside the other one; nothing if this host was built without.
std::optional<std::filesystem::path> tensor_library();
// The LibTorch that the tensor library was built with ("2.11.0+cu130"), by its stamp; nothing without one.
const std::optional<std::string>& host_torch_version();

}  // namespace colonnade::host
