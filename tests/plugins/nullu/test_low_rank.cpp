#include <catch2/catch.hpp>

#include "nullu_support.h"
#include "plugins/nullu/low_rank.h"

namespace colonnade::nullu {

namespace {

// Flat, power-law and step: what truncation meets at its worst, in between and at its best.
std::map<std::string, Tensor> spectra(std::int64_t count) {
  const Tensor index = at::arange(1, count + 1, at::kDouble);
  return {{"flat", at::ones({count}, at::kDouble)},
          {"power law", index.pow(-0.8)},
          {"step", at::where(index <= count / 20.0, at::scalar_tensor(1.0, at::kDouble),
                             at::scalar_tensor(0.05, at::kDouble))}};
}

double error_of(const Tensor& matrix, const Projection& kept) {
  return (matrix - at::matmul(kept.basis, at::matmul(kept.basis.t(), matrix))).norm().item<double>();
}

RankRule by_rank(std::int64_t rank) {
  RankRule rule;
  rule.rank = rank;
  return rule;
}

}  // namespace

TEST_CASE("the error of a truncated decomposition is what it leaves out") {
  for (const auto& [name, singular] : spectra(120)) {
    for (const auto& [rows, columns] : {std::pair{120, 200}, std::pair{200, 120}, std::pair{120, 120}}) {
      const Tensor matrix = with_spectrum(rows, columns, singular);
      for (const std::int64_t rank : {1, 6, 60, 119}) {
        INFO(name << " " << rows << " " << columns << " " << rank);
        const Projection kept = project_rank(matrix, by_rank(rank), Method::svd, {});
        const double tail = singular.narrow(0, rank, 120 - rank).norm().item<double>();
        CHECK(kept.tail == Approx(tail).epsilon(1e-9));
        CHECK(error_of(matrix, kept) == Approx(tail).epsilon(1e-9));
        CHECK(kept.basis.size(1) == rank);
      }
    }
  }
}

TEST_CASE("the randomised decomposition is within 1 percent of the best at 5 percent of the rank and below") {
  for (const auto& [name, singular] : spectra(300)) {
    const Tensor matrix = with_spectrum(400, 300, singular);
    for (const std::int64_t rank : {3, 8, 15}) {
      for (const Tensor& each : {matrix, matrix.t().contiguous()}) {
        const Projection kept = project_rank(each, by_rank(rank), Method::automatic, RandomStream(5));
        CHECK(kept.method == Method::randomised);
        const double best = singular.narrow(0, rank, 300 - rank).norm().item<double>();
        INFO(name << " " << rank);
        CHECK(error_of(each, kept) <= 1.01 * best);
        CHECK(kept.tail == Approx(error_of(each, kept)).epsilon(1e-9));
      }
    }
    CHECK(project_rank(matrix, by_rank(16), Method::automatic, {}).method == Method::svd);
  }
}

TEST_CASE("pivoted QR keeps orthonormal columns, meets its known bound, and stops at the matrix's rank") {
  for (const auto& [name, singular] : spectra(60)) {
    const Tensor matrix = with_spectrum(60, 90, singular);
    for (const std::int64_t rank : {1, 5, 30}) {
      const Projection kept = project_rank(matrix, by_rank(rank), Method::qr, {});
      CHECK(small::largest_difference(at::matmul(kept.basis.t(), kept.basis), at::eye(rank, at::kDouble)) < 1e-12);
      const double best = singular.narrow(0, rank, 60 - rank).norm().item<double>();
      INFO(name << " " << rank);
      // In practice within a small factor of the best; the proven bound grows with 2^rank.
      CHECK(error_of(matrix, kept) < 2.5 * best);
      CHECK(error_of(matrix, kept) >= best * (1 - 1e-12));
    }
  }
  const Tensor low = with_spectrum(40, 50, at::ones({3}, at::kDouble));
  CHECK(project_rank(low, by_rank(20), Method::qr, {}).basis.size(1) == 3);
}

TEST_CASE("ranks by number, share and energy") {
  const Tensor singular = at::tensor({4.0, 2.0, 1.0, 0.0});  // squares 16 4 1 0
  const auto of = [&](std::optional<std::int64_t> rank, std::optional<double> ratio, std::optional<double> energy) {
    return RankRule{rank, ratio, energy}.of_spectrum(singular);
  };
  CHECK(of(2, {}, {}) == 2);
  CHECK(of(9, {}, {}) == 4);
  CHECK(of({}, 0.5, {}) == 2);
  CHECK(of({}, 0.01, {}) == 1);
  CHECK(of({}, {}, 0.5) == 1);
  CHECK(of({}, {}, 0.9) == 2);
  CHECK(of({}, {}, 0.96) == 3);
  CHECK(of({}, {}, 1.0) == 3);
}

TEST_CASE("factors are decomposed without their product") {
  const Tensor u = normal({70, 8}, 1), v = normal({50, 8}, 2);
  const Tensor matrix = at::matmul(u, v.t());
  for (const std::int64_t rank : {1, 4, 8}) {
    const Projection a = project_factors(u, v, by_rank(rank)), b = project_rank(matrix, by_rank(rank), Method::svd, {});
    CHECK(a.tail == Approx(b.tail).margin(1e-10));
    CHECK(small::largest_difference(at::matmul(a.basis, a.basis.t()), at::matmul(b.basis, b.basis.t())) < 1e-10);
  }
}

TEST_CASE("a root squares to what it is of, and rounding below zero does no harm") {
  const Tensor half = normal({30, 12}, 4);  // rank 12 of 30
  const Tensor gram = at::matmul(half, half.t()), root = root_of(gram);
  CHECK(small::relative_error(at::matmul(root, root.t()), gram) < 1e-12);
}

}  // namespace colonnade::nullu
