#include <catch2/catch.hpp>

#include <tuple>
#include <vector>

#include "alphaedit_support.h"
#include "plugins/alphaedit/solve.h"

namespace colonnade::alphaedit {

namespace {

using Catch::Matchers::Contains;

Tensor product(const Factors& factors) {
  return at::matmul(factors.u, factors.v.t());
}

// The paper's form, in the whole space: X = (P (K Kᵀ + C) + λ I)⁻¹ P K Rᵀ, ΔW = Xᵀ, P = U₀U₀ᵀ.
Tensor written_as_published(const Tensor& residuals, const Tensor& keys, const Tensor& earlier, const NullSpace& free,
                            double lambda) {
  const Tensor p = at::matmul(free.basis, free.basis.t());
  const Tensor gram = earlier.defined() ? gram_of(keys) + earlier : gram_of(keys);
  const Tensor system = at::matmul(p, gram) + lambda * at::eye(p.size(0), at::kDouble);
  return at::linalg_solve(system, at::matmul(p, at::matmul(keys, residuals.t()))).t();
}

double mean_square(const NullSpace& free, const Tensor& keys) {
  return free.reduce(keys).square().sum().item<double>() / static_cast<double>(keys.size(1));
}

// ‖(E − ΔW) K‖
double missed(const Tensor& lost, const Tensor& change, const Tensor& keys) {
  return at::matmul(lost - change, keys).norm().item<double>();
}

}  // namespace

TEST_CASE("the null space is where the smallest eigenvalues lie, up to their share") {
  const Tensor keys = keys_of(30, 200, 1), gram = gram_of(keys);
  const Tensor values = at::linalg_eigvalsh(gram, "L");
  for (const double epsilon : {1e-6, 1e-3, 0.1}) {
    const NullSpace free = null_space_of(gram, epsilon, "site");
    const std::int64_t count = free.basis.size(1);
    const double all = values.sum().item<double>();
    CHECK(values.narrow(0, 0, count).sum().item<double>() <= epsilon * all);
    CHECK(values.narrow(0, 0, count + 1).sum().item<double>() > epsilon * all);
    CHECK(free.energy == Approx(values.narrow(0, 0, count).sum().item<double>()));
    CHECK(at::matmul(free.basis.t(), keys).norm().item<double>() == Approx(std::sqrt(free.energy)));
  }
}

TEST_CASE("keys without a null space are refused with their spectrum") {
  const std::string error = small::error_of([] { null_space_of(at::eye(20, at::kDouble), 0.01, "layers.0.out_proj"); });
  CHECK_THAT(error, Contains("site 'layers.0.out_proj'") && Contains("no null space at epsilon = 0.01"));
  CHECK_THAT(error, Contains("Shares of the 20 eigenvalues") && Contains("median 0.05") && Contains("above 0.05"));
}

TEST_CASE("the reduced form is the published one to 1e-10, for rectangles either way and squares") {
  for (const auto& [rows, columns] : {std::pair{12, 30}, std::pair{30, 12}, std::pair{20, 20}}) {
    for (const bool earlier : {false, true}) {
      const Tensor keys = keys_of(columns, 5, 2), residuals = normal({rows, 5}, 3);
      const NullSpace free = null_space_of(gram_of(keys_of(columns, 300, 4)), 0.02, "site");
      const Tensor before = earlier ? gram_of(keys_of(columns, 7, 5)) : Tensor();
      const Tensor change = product(write_keys(residuals, keys, before, free, 0.3));
      const Tensor wanted = written_as_published(residuals, keys, before, free, 0.3 * mean_square(free, keys));
      REQUIRE(change.sizes() == at::IntArrayRef({rows, columns}));
      CHECK(small::relative_error(change, wanted) < 1e-10);
      // Its transpose, which the published code takes for square layers, is something else.
      if (rows == columns) CHECK(small::relative_error(change.t(), wanted) > 0.1);
      CHECK(at::matmul(change, at::eye(columns, at::kDouble) - at::matmul(free.basis, free.basis.t()))
                .norm()
                .item<double>() < 1e-12 * change.norm().item<double>());
    }
  }
}

TEST_CASE("what is to be preserved drifts by no more than the discarded energy allows") {
  const Tensor preserved = keys_of(40, 400, 6), held_out = keys_of(40, 400, 7), keys = normal({40, 6}, 8);
  const NullSpace free = null_space_of(gram_of(preserved), 1e-3, "site");
  const Tensor change = product(write_keys(normal({25, 6}, 9), keys, {}, free, 1e-3));
  const double length = at::linalg_svdvals(change)[0].item<double>();
  CHECK(at::matmul(change, preserved).norm().item<double>() <= length * std::sqrt(free.energy) * (1 + 1e-9));
  CHECK(norm_on(change, gram_of(preserved)) == Approx(at::matmul(change, preserved).norm().item<double>()));
  // Other keys of the same kind: nearly as well; keys from anywhere: not at all.
  CHECK(at::matmul(change, held_out).norm().item<double>() < 2 * length * std::sqrt(free.energy));
  CHECK(at::matmul(change, normal({40, 400}, 10)).norm().item<double>() > length);
}

TEST_CASE("a small ridge writes nearly all, and earlier keys keep what they were given") {
  const Tensor first = normal({40, 4}, 11), second = normal({40, 4}, 12);
  const Tensor wanted = normal({15, 4}, 13), other = normal({15, 4}, 14);
  const NullSpace free = null_space_of(gram_of(keys_of(40, 400, 6)), 1e-3, "site");
  const Tensor one = product(write_keys(wanted, first, {}, free, 1e-8));
  CHECK((at::matmul(one, first) - wanted).norm().item<double>() < 1e-5 * wanted.norm().item<double>());
  const Tensor two = product(write_keys(other, second, gram_of(first), free, 1e-8));
  const Tensor forgetful = product(write_keys(other, second, {}, free, 1e-8));
  CHECK(at::matmul(two, first).norm().item<double>() < 0.8 * at::matmul(forgetful, first).norm().item<double>());
}

TEST_CASE("restoring is optimal as the ridge goes to zero: nothing of its rank in the null space comes nearer") {
  for (const auto& [rows, columns, constrained] : std::vector<std::tuple<std::int64_t, std::int64_t, bool>>{
           {9, 14, false}, {9, 14, true}, {17, 8, false}, {17, 8, true}}) {
    const Tensor keys = keys_of(columns, 40, 15, 0.05), lost = normal({rows, columns}, 16);
    NullSpace free;
    if (constrained) free = null_space_of(gram_of(keys_of(columns, 100, 17)), 0.05, "site");
    for (const std::int64_t rank : {1, 3, 5}) {
      const Tensor change = product(restore(lost, gram_of(keys), free, rank, 1e-12));
      const double error = missed(lost, change, keys);
      // By another way: the best approximation of Y's part in the row space of X, by its own decomposition.
      const Tensor x = free.reduce(keys), y = at::matmul(lost, keys);
      const Tensor reachable = at::matmul(at::matmul(y, at::linalg_pinv(x, 1e-13)), x);
      const Tensor singular = at::linalg_svdvals(reachable);
      const std::int64_t beyond = singular.numel() - std::min(rank, singular.numel());
      const double rest = singular.narrow(0, singular.numel() - beyond, beyond).square().sum().item<double>();
      CHECK(error == Approx(std::sqrt((y - reachable).square().sum().item<double>() + rest)).epsilon(1e-6));
      // By brute force: alternating least squares from several starts.
      double best = 1e300;
      for (std::uint64_t start = 0; start < 4; ++start) {
        Tensor left = normal({rows, rank}, 100 + start), right;
        for (int step = 0; step < 200; ++step) {
          right = at::matmul(at::linalg_pinv(left, 1e-13), at::matmul(y, at::linalg_pinv(x, 1e-13)));
          left = at::matmul(y, at::linalg_pinv(at::matmul(right, x), 1e-13));
        }
        best = std::min(best, missed(lost, at::matmul(left, free.expand(right.t()).t()), keys));
      }
      CHECK(error <= best * (1 + 1e-6));
      CHECK(at::linalg_matrix_rank(change, 1e-9).item<std::int64_t>() <= rank);
    }
  }
}

TEST_CASE("keys that span little of the space are no trouble") {
  const Tensor keys = normal({20, 3}, 18), lost = normal({10, 20}, 19);
  const Tensor change = product(restore(lost, gram_of(keys), {}, 3, 1e-13));
  CHECK(at::isfinite(change).all().item<bool>());
  CHECK(missed(lost, change, keys) < 1e-5 * at::matmul(lost, keys).norm().item<double>());
}

}  // namespace colonnade::alphaedit
