#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace colonnade::host {

// What the evaluator asks of the machine. Sizes in bytes; 0 where the system does not tell.

// The memory this process may use: the machine's, or its control group's limit where that is less.
std::uint64_t machine_memory();
// Memory of the process that is its own (no mapped files).
std::uint64_t own_memory(pid_t process);
// The most memory this process has had since the last `reset_peak_memory` (since its start where the system cannot
// reset it).
std::uint64_t peak_memory();
void reset_peak_memory();

// What a measured value belongs to: processor, number of cores, memory, and the installation.
std::string machine_identity();
// The first CUDA card, as its driver names it ("NVIDIA H200"); "unknown card" where the driver does not tell.
std::string cuda_card();

double monotonic_seconds();

// "SIGSEGV", or "signal 71" for one without a name.
std::string signal_name(int signal);
// "1.5 GiB", "640 KiB", "12 bytes".
std::string human_bytes(double bytes);
// "850 ms", "12 s", "3 min 20 s", "2 h 5 min".
std::string human_seconds(double seconds);

}  // namespace colonnade::host
