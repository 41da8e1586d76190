#pragma once

// A function compiled for several widths of vectors, the widest that the processor has taken at run time.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define COLONNADE_WIDE_VERSIONS __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define COLONNADE_WIDE_VERSIONS
#endif
