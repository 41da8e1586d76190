// The scan for processors with AVX-512 F and DQ.
#include <cstdint>
#include <new>

#include "selective_scan_kernel.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx2,fma,prefer-vector-width=512")

#define COLONNADE_SCAN_TARGET scan_avx512
#define COLONNADE_SCAN_BYTES 64
#include "selective_scan_passes.h"

#pragma GCC pop_options

namespace colonnade::mamba {

const ScanKernelSet& avx512_scan_kernels() {
  return scan_avx512::kernel_set();
}

}  // namespace colonnade::mamba

#endif
