// links: plugin_dare_objects
//
// DARE's pass over a weight against memcpy of the same weight, in one process on the same threads: prints the median
// bandwidth of both, bytes read and written counted for both (memcpy 4 + 4 an element; a drop in place 4 + 4, and 1 for
// its mask), and their ratio.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <vector>

#include "plugins/dare/drop.h"

namespace {

using namespace colonnade;

constexpr std::int64_t kElements = std::int64_t{1} << 26;
constexpr std::int64_t kTask = std::int64_t{1} << 18;
constexpr int kRepeats = 9;

double median_seconds(const std::function<void(std::int64_t, std::int64_t)>& task) {
  std::vector<double> times;
  for (int i = 0; i <= kRepeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    at::parallel_for(0, kElements / kTask, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t part = begin; part < end; ++part) task(part * kTask, kTask);
    });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (i > 0) times.push_back(seconds);
  }
  std::nth_element(times.begin(), times.begin() + kRepeats / 2, times.end());
  return times[kRepeats / 2];
}

void report(const char* what, int threads, double seconds, double bytes_an_element, double memcpy_rate) {
  const double rate = static_cast<double>(kElements) * bytes_an_element / seconds / 1e9;
  std::printf("%-28s %d threads  %7.2f ms  %6.2f GB/s", what, threads, seconds * 1e3, rate);
  if (memcpy_rate > 0) std::printf("  %.0f %% of memcpy's", 100 * rate / memcpy_rate);
  std::printf("\n");
}

}  // namespace

int main() {
  at::Tensor weight = at::ones({kElements}), other = at::empty({kElements});
  at::Tensor mask = at::ones({kElements}, at::kBool);
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    const double copy = median_seconds([&](std::int64_t first, std::int64_t count) {
      std::memcpy(other.data_ptr<float>() + first, weight.data_ptr<float>() + first,
                  static_cast<std::size_t>(count) * sizeof(float));
    });
    report("memcpy", threads, copy, 8, 0);
    const double copy_rate = static_cast<double>(kElements) * 8 / copy / 1e9;
    for (const bool masked : {false, true}) {
      const dare::ElementRule rule{RandomStream(1), word_threshold(0.9), masked ? word_threshold(0.5) : 0};
      const double seconds = median_seconds([&](std::int64_t first, std::int64_t count) {
        dare::DropCounts counts;
        float* values = weight.data_ptr<float>() + first;
        bool* keep = mask.data_ptr<bool>() + first;
        dare::drop_elements<float>(
            rule, {static_cast<std::uint64_t>(first), count, values, masked ? keep : nullptr, values, keep}, 1.0F,
            false, counts);
      });
      report(masked ? "drop, a later stage" : "drop", threads, seconds, masked ? 10 : 9, copy_rate);
    }
  }
}
