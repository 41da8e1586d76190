// The CUDA device: brings LibTorch's part for it into processes that are to compute there, and says that they do.
#include <ATen/Context.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <dlfcn.h>

#include <string>

#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/hash.h"
#include "colonnade/tensor/device.h"

namespace colonnade {
namespace {

constexpr const char* kLibrary = "libtorch_cuda.so";

/// LibTorch remembers its first answer to whether there is CUDA, so this comes before anything asks.
void set_up(int) {
  if (::dlopen(kLibrary, RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    const char* reason = ::dlerror();
    throw Error(ErrorKind::environment, std::string("LibTorch's CUDA part cannot be loaded: ") +
                                            (reason != nullptr ? reason : kLibrary) +
                                            "; `./bootstrap build --cuda` fetches it");
  }
  at::Context& context = at::globalContext();
  if (!context.hasCUDA() || c10::impl::getDeviceGuardImpl(c10::DeviceType::CUDA)->deviceCount() == 0) {
    throw Error(ErrorKind::environment,
                "LibTorch finds no CUDA device that this process may use; look at nvidia-smi "
                "and CUDA_VISIBLE_DEVICES");
  }
  context.lazyInitDevice(c10::DeviceType::CUDA);
  // Products of float32 are products of float32.
  context.setAllowTF32CuBLAS(false);
  context.setAllowTF32CuDNN(false);
  context.setBenchmarkCuDNN(false);
  set_compute_device(at::Device(at::kCUDA, 0));
}

std::string generator_state() {
  if (computes_on_cpu()) return "";
  const auto state = at::globalContext().defaultGenerator(compute_device()).get_state();
  return hash_bytes({static_cast<const char*>(state.const_data_ptr()), state.nbytes()}).hex();
}

void register_plugin(Registrar&) {
  register_worker_service({"at::CUDAGenerator", set_up, generator_state});
}

}  // namespace
}  // namespace colonnade

COLONNADE_PLUGIN(colonnade::register_plugin);
