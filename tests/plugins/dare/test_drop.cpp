#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include "plugins/dare/drop.h"

// The kernel against the loop that defines it, and the numbers' statistics.
namespace colonnade::dare {

namespace {

struct Flags {
  explicit Flags(std::size_t count) : data(std::make_unique<bool[]>(count)), size(count) {}
  std::unique_ptr<bool[]> data;
  std::size_t size;
};

RandomStream numbers(std::uint64_t seed, const char* site = "site") {
  return RandomStream(seed).at("dare/dare").at(0).at(site);
}

template <typename Real>
std::vector<Real> values(std::size_t count) {
  std::vector<Real> result(count);
  const RandomStream stream = RandomStream(99).at("values");
  for (std::size_t i = 0; i < count; ++i) result[i] = static_cast<Real>(stream.normal(i));
  return result;
}

template <typename Real>
DropCounts drop_in_place(const ElementRule& rule, std::uint64_t first, std::size_t count, Real factor, bool masked,
                         Real* values, Flags& keep) {
  DropCounts counts;
  drop_elements<Real>(
      rule,
      {first, static_cast<std::int64_t>(count), values, masked ? keep.data.get() : nullptr, values, keep.data.get()},
      factor, false, counts);
  return counts;
}

template <typename Real>
void compare(std::size_t count, double rate, bool masked, bool norms, std::uint64_t first,
             const ElementOrder& order = {}) {
  const ElementRule rule{numbers(1), word_threshold(rate), word_threshold(rate / 2), order};
  const Real factor = norms ? 1 : static_cast<Real>(3.7);
  auto fast = values<Real>(count), slow = fast;
  Flags fast_keep(count), slow_keep(count);
  for (std::size_t i = 0; i < count; ++i) fast_keep.data[i] = slow_keep.data[i] = i % 3 != 0;
  const auto size = static_cast<std::int64_t>(count);
  // In place, and from one memory into another.
  DropCounts a, b, c;
  const auto range = [&](std::vector<Real>& out, Flags& keep) {
    return ElementRange<Real>{first, size, out.data(), masked ? keep.data.get() : nullptr, out.data(), keep.data.get()};
  };
  auto apart = range(fast, fast_keep);
  std::vector<Real> other(count);
  Flags other_keep(count);
  apart.out = other.data();
  apart.keep = other_keep.data.get();
  drop_elements(rule, apart, factor, norms, c);
  drop_elements(rule, range(fast, fast_keep), factor, norms, a);
  drop_elements_plain(rule, range(slow, slow_keep), factor, norms, b);
  CHECK(fast == slow);
  CHECK(other == slow);
  CHECK(std::equal(other_keep.data.get(), other_keep.data.get() + count, slow_keep.data.get()));
  CHECK(c.kept == b.kept);
  CHECK(std::equal(fast_keep.data.get(), fast_keep.data.get() + count, slow_keep.data.get()));
  CHECK(a.kept == b.kept);
  CHECK(a.refilled == b.refilled);
  CHECK(a.before == Approx(b.before).epsilon(1e-12));  // another order of adding
  CHECK(a.after == Approx(b.after).epsilon(1e-12));
}

// The mask of `count` elements from `first`.
std::vector<double> mask(const RandomStream& stream, double rate, std::size_t count, std::uint64_t first = 0) {
  std::vector<std::uint32_t> words(count);
  random_words(stream, first, words);
  std::vector<double> kept(count);
  for (std::size_t i = 0; i < count; ++i) kept[i] = words[i] >= word_threshold(rate) ? 1 : 0;
  return kept;
}

double correlation(const std::vector<double>& a, const std::vector<double>& b, std::size_t shift_a = 0) {
  const std::size_t n = b.size() - shift_a;
  const double mean_a = std::accumulate(a.begin() + static_cast<std::ptrdiff_t>(shift_a), a.end(), 0.0) / n;
  const double mean_b = std::accumulate(b.begin(), b.begin() + static_cast<std::ptrdiff_t>(n), 0.0) / n;
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const double x = a[i + shift_a] - mean_a, y = b[i] - mean_b;
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return ab / std::sqrt(aa * bb);
}

}  // namespace

TEST_CASE("the pass over memory does what the loop says, at any rate, length, mask and type") {
  for (const double rate : {0.0, 0.3, 0.9, 0.995, 1.0}) {
    for (const std::size_t count : {1U, 7U, 64U, 2047U, 2048U, 2049U, 10001U}) {
      for (const bool masked : {false, true}) {
        for (const bool norms : {false, true}) {
          compare<float>(count, rate, masked, norms, 5);
          compare<double>(count, rate, masked, norms, 0);
        }
      }
    }
  }
}

TEST_CASE("elements that were moved are decided about by where they were") {
  constexpr std::int64_t rows = 60, columns = 70;
  std::vector<std::int64_t> row_order(rows), column_order(columns);
  for (std::int64_t i = 0; i < rows; ++i) row_order[static_cast<std::size_t>(i)] = (i * 7 + 3) % rows;
  for (std::int64_t i = 0; i < columns; ++i) column_order[static_cast<std::size_t>(i)] = (i * 3 + 5) % columns;
  constexpr std::size_t count = rows * columns;
  const auto here = mask(numbers(1), 0.7, count);
  for (const bool move_rows : {false, true}) {
    for (const bool move_columns : {false, true}) {
      ElementOrder order;
      order.row_length = columns;
      if (move_rows) order.rows = row_order;
      if (move_columns) order.columns = column_order;
      // A piece that begins and ends within rows, against the loop.
      for (const bool masked : {false, true}) compare<float>(2500, 0.7, masked, true, 33, order);
      std::vector<float> ones(count, 1);
      Flags keep(count);
      drop_in_place<float>({numbers(1), word_threshold(0.7), 0, order}, 0, count, 1, false, ones.data(), keep);
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t c = 0; c < columns; ++c) {
          const std::int64_t was = (move_rows ? row_order[static_cast<std::size_t>(r)] : r) * columns +
                                   (move_columns ? column_order[static_cast<std::size_t>(c)] : c);
          REQUIRE(keep.data[static_cast<std::size_t>(r * columns + c)] == (here[static_cast<std::size_t>(was)] > 0));
        }
      }
    }
  }
}

TEST_CASE("a site cut into pieces is the site in one piece") {
  const ElementRule rule{numbers(4), word_threshold(0.9), 0};
  constexpr std::int64_t count = 30000;
  auto whole = values<float>(count), pieces = whole;
  Flags whole_keep(count), piece_keep(count);
  drop_in_place(rule, 0, count, 10.0F, false, whole.data(), whole_keep);
  for (std::int64_t at = 0; at < count;) {
    const std::int64_t here = std::min<std::int64_t>(count - at, 1 + at / 3);
    DropCounts counts;
    drop_elements<float>(rule,
                         {static_cast<std::uint64_t>(at), here, pieces.data() + at, nullptr, pieces.data() + at,
                          piece_keep.data.get() + at},
                         10.0F, false, counts);
    at += here;
  }
  CHECK(whole == pieces);
  CHECK(std::equal(whole_keep.data.get(), whole_keep.data.get() + count, piece_keep.data.get()));
}

TEST_CASE("what an earlier use dropped and is there again is counted") {
  constexpr std::size_t count = 5000;
  const auto kept_once = mask(numbers(1), 0.5, count);
  auto some = values<float>(count);
  Flags keep(count);
  for (std::size_t i = 0; i < count; ++i) keep.data[i] = kept_once[i] > 0;
  const ElementRule rule{numbers(1), word_threshold(0.9), word_threshold(0.5)};
  CHECK(drop_in_place(rule, 0, count, 1.0F, true, some.data(), keep).refilled == 0);
  for (std::size_t i = 0; i < count; ++i) keep.data[i] = kept_once[count - 1 - i] > 0;  // moved
  CHECK(drop_in_place(rule, 0, count, 1.0F, true, some.data(), keep).refilled > 1000);
}

TEST_CASE("an exact cut drops the smallest words, exactly as many as wanted, nested over rates") {
  // 300,000 words of 32 bits have about ten ties.
  for (const std::uint64_t count : {1U, 10U, 4096U, 300000U}) {
    std::vector<std::pair<std::uint32_t, std::uint64_t>> sorted;
    for (std::uint64_t i = 0; i < count; ++i) sorted.emplace_back(random_word(numbers(8), i), i);
    std::sort(sorted.begin(), sorted.end());
    for (const std::uint64_t dropped : {std::uint64_t{0}, count / 3, count / 2, count - 1, count}) {
      const ExactCut cut = exact_cut(numbers(8), count, dropped);
      std::vector<std::uint64_t> wanted, found = cut.ties;
      for (std::uint64_t i = 0; i < dropped; ++i) wanted.push_back(sorted[i].second);
      for (std::uint64_t i = 0; i < count; ++i) {
        if (random_word(numbers(8), i) < cut.threshold) found.push_back(i);
      }
      std::sort(wanted.begin(), wanted.end());
      std::sort(found.begin(), found.end());
      CHECK(found == wanted);
    }
  }
}

TEST_CASE("rates hold within four standard errors at every seed") {
  constexpr std::size_t count = 1 << 18;
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    for (const double rate : {0.5, 0.9, 0.95, 0.99, 0.995}) {
      const auto kept = mask(numbers(seed), rate, count);
      const double dropped = count - std::accumulate(kept.begin(), kept.end(), 0.0);
      CHECK(std::abs(dropped - rate * count) < 4 * std::sqrt(count * rate * (1 - rate)));
    }
  }
}

TEST_CASE("1/keep is unbiased: z squared over a thousand draws has mean 1") {
  constexpr std::size_t count = 2048;
  constexpr int draws = 1000;
  const auto weights = values<double>(count);
  for (const double rate : {0.5, 0.9, 0.99}) {
    std::vector<double> sums(count);
    Flags keep(count);
    for (int draw = 0; draw < draws; ++draw) {
      auto dropped = weights;
      const ElementRule rule{numbers(static_cast<std::uint64_t>(draw)), word_threshold(rate), 0};
      drop_in_place(rule, 0, count, 1 / (1 - rate), false, dropped.data(), keep);
      for (std::size_t i = 0; i < count; ++i) sums[i] += dropped[i];
    }
    double z_squared = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const double error = sums[i] / draws - weights[i];
      z_squared += error * error / (weights[i] * weights[i] * rate / (1 - rate) / draws);
    }
    CHECK(std::abs(z_squared / count - 1) < 5 * std::sqrt(2.0 / count));
  }
}

TEST_CASE("masks of neighbours, rows, sites, seeds and rates in other ranges are uncorrelated") {
  constexpr std::size_t count = 1 << 19, row = 1024;
  const double bound = 5 / std::sqrt(static_cast<double>(count));
  for (const double rate : {0.5, 0.95}) {
    const auto base = mask(numbers(0), rate, count);
    for (const std::size_t shift : {std::size_t{1}, std::size_t{2}, std::size_t{4}, row, 7 * row}) {
      CHECK(std::abs(correlation(base, base, shift)) < bound);
    }
    CHECK(std::abs(correlation(base, mask(numbers(1), rate, count))) < bound);
    CHECK(std::abs(correlation(base, mask(numbers(0, "other"), rate, count))) < bound);
    CHECK(std::abs(correlation(base, mask(numbers(0), rate, count, std::uint64_t{1} << 32))) < bound);
  }
}

}  // namespace colonnade::dare
