// links: plugin_nullu_objects
//
// The randomised decomposition against LAPACK's, in one process on one thread, at shapes of a ViT-B/32's linears
// and ranks of 5 % and below, on a flat, a power-law and a step spectrum: prints the seconds of both, their ratio, and
// the error over the best there is.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <vector>

#include "plugins/nullu/low_rank.h"

namespace {

using namespace colonnade;

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

at::Tensor normal(at::IntArrayRef shape, std::uint64_t seed) {
  return random_normal(RandomStream(seed), shape, at::kDouble);
}

}  // namespace

int main() {
  at::set_num_threads(1);
  for (const auto& [rows, columns] : std::vector<std::pair<std::int64_t, std::int64_t>>{{768, 768}, {3072, 768}}) {
    const std::int64_t count = std::min(rows, columns);
    const at::Tensor index = at::arange(1, count + 1, at::kDouble);
    const at::Tensor left = std::get<0>(at::linalg_qr(normal({rows, count}, 1), "reduced"));
    const at::Tensor right = std::get<0>(at::linalg_qr(normal({columns, count}, 2), "reduced"));
    const at::Tensor step =
        at::where(index <= count / 20, at::scalar_tensor(1.0, at::kDouble), at::scalar_tensor(0.05, at::kDouble));
    const std::vector<std::pair<const char*, at::Tensor>> spectra = {
        {"flat", at::ones({count}, at::kDouble)}, {"power law", index.pow(-0.8)}, {"step", step}};
    for (const auto& [name, singular] : spectra) {
      const at::Tensor matrix = at::matmul(left * singular, right.t());
      nullu::RankRule rule;
      rule.rank = count / 20;
      nullu::Projection fast, whole;
      const double randomised =
          seconds_of([&] { fast = nullu::project_rank(matrix, rule, nullu::Method::randomised, RandomStream(3)); });
      const double lapack =
          seconds_of([&] { whole = nullu::project_rank(matrix, rule, nullu::Method::svd, RandomStream(3)); });
      std::printf(
          "%4ld x %4ld rank %ld %-10s svd %6.3f s  randomised %6.3f s  %5.1f times as fast, error %.5f of the best\n",
          static_cast<long>(rows), static_cast<long>(columns), static_cast<long>(*rule.rank), name, lapack, randomised,
          lapack / randomised, fast.tail / whole.tail);
    }
  }
}
