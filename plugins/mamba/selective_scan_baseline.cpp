// The scan for any processor: registers of 16 bytes, which x86-64 and 64-bit ARM all have.
#include <cstdint>
#include <new>

#include "selective_scan_kernel.h"

#define COLONNADE_SCAN_TARGET scan_baseline
#define COLONNADE_SCAN_BYTES 16
#include "selective_scan_passes.h"

namespace colonnade::mamba {

const ScanKernelSet& baseline_scan_kernels() {
  return scan_baseline::kernel_set();
}

}  // namespace colonnade::mamba
