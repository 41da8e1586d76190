#include "kernel/study/device.h"

#include <catch2/catch.hpp>

#include "colonnade/error.h"

namespace colonnade::host {

TEST_CASE("A device that was asked for is had, or its absence is said", "[study]") {
  const CudaSupport none, all{true, "", true, true}, no_ops{true, "", true, false}, no_device{false, "", true, true},
      no_plugin{true, "not in this build", true, true}, no_library{true, "", false, true};
  for (const CudaSupport& support : {none, no_ops, no_device, no_plugin, no_library}) {
    CHECK(resolve_device("cpu", "--set", support) == "cpu");
    CHECK(resolve_device("auto", "--set", support) == "cpu");
    CHECK_THROWS_AS(resolve_device("cuda", "--set", support), Error);
  }
  for (const char* device : {"cpu", "cuda"}) CHECK(resolve_device(device, "--set", all) == device);
  CHECK(resolve_device("auto", "--set", all) == "cuda");
  CHECK_THROWS_WITH(
      resolve_device("cuda", "study.toml:3", no_device),
      "study.toml:3: device = \"cuda\", but this machine has no CUDA device (/dev/nvidiactl is not there); "
      "allowed here: cpu, auto");
  CHECK_THROWS_WITH(
      resolve_device("cuda", "--set", no_ops),
      "--set: device = \"cuda\", but no plugin that was found computes on CUDA: every op here runs on the CPU; "
      "allowed here: cpu, auto");
  CHECK_THROWS_WITH(resolve_device("cuda", "--set", no_plugin),
                    "--set: device = \"cuda\", but plugin 'cuda' is not in this build; `./bootstrap build --cuda` "
                    "builds it; allowed here: cpu, auto");
  CHECK_THROWS_WITH(
      resolve_device("cuda", "--set", no_library),
      "--set: device = \"cuda\", but libtorch_cuda.so is neither beside LibTorch's other libraries nor in a "
      "folder of LD_LIBRARY_PATH; `./bootstrap build --cuda` fetches it; allowed here: cpu, auto");
  try {
    resolve_device("cuda", "--set", none);
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::environment);
  }
}

}  // namespace colonnade::host
