// The scan for processors with AVX2 and FMA.
#include <cstdint>
#include <new>

#include "selective_scan_kernel.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma")

#define COLONNADE_SCAN_TARGET scan_avx2
#define COLONNADE_SCAN_BYTES 32
#include "selective_scan_passes.h"

#pragma GCC pop_options

namespace colonnade::mamba {

const ScanKernelSet& avx2_scan_kernels() {
  return scan_avx2::kernel_set();
}

}  // namespace colonnade::mamba

#endif
