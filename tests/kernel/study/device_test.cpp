#include "kernel/study/device.h"

#include <catch2/catch.hpp>

#include "colonnade/error.h"

namespace colonnade::host {

TEST_CASE("A device that was asked for is had, or its absence is said", "[study]") {
  const CudaSupport none, machine{true, false}, ops{false, true}, both{true, true};
  for (const CudaSupport& support : {none, machine, ops, both}) {
    CHECK(resolve_device("cpu", "--set", support) == "cpu");
    CHECK(resolve_device("auto", "--set", support) == (support.device && support.ops ? "cuda" : "cpu"));
  }
  CHECK(resolve_device("cuda", "--set", both) == "cuda");
  CHECK_THROWS_WITH(
      resolve_device("cuda", "study.toml:3", ops),
      "study.toml:3: device = \"cuda\", but this machine has no CUDA device (/dev/nvidiactl is not there); "
      "allowed here: cpu, auto");
  CHECK_THROWS_WITH(
      resolve_device("cuda", "--set", machine),
      "--set: device = \"cuda\", but no plugin that was found computes on CUDA: every op here runs on the CPU; "
      "allowed here: cpu, auto");
  try {
    resolve_device("cuda", "--set", none);
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::environment);
  }
}

}  // namespace colonnade::host
