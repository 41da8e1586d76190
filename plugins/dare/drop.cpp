#include "drop.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace colonnade::dare {

namespace {

// Words of so many elements stay in the first-level cache between being made and being used.
constexpr std::int64_t kBlock = 2048;
constexpr std::uint64_t kAllWords = std::uint64_t{1} << 32;

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define COLONNADE_WIDE_VERSIONS __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define COLONNADE_WIDE_VERSIONS
#endif

// Comparisons are of words below 2^32; a threshold of 2^32, which none reaches, is `last` with `none` set.
struct Cut {
  std::uint32_t least = 0;
  bool none = false;

  explicit Cut(std::uint64_t threshold)
      : least(static_cast<std::uint32_t>(std::min(threshold, kAllWords - 1))), none(threshold >= kAllWords) {}
};

template <typename Real>
inline __attribute__((always_inline)) void drop_block(const std::uint32_t* words, std::uint32_t least, Real factor,
                                                      std::int64_t count, Real* values, std::uint8_t* keep) {
  for (std::int64_t i = 0; i < count; ++i) {
    const bool survives = words[i] >= least;
    keep[i] = static_cast<std::uint8_t>(survives);
    values[i] = survives ? values[i] * factor : Real{0};
  }
}

template <typename Real>
inline __attribute__((always_inline)) void drop_masked_block(const std::uint32_t* words, std::uint32_t least,
                                                             Real factor, std::int64_t count, Real* values,
                                                             std::uint8_t* keep) {
  for (std::int64_t i = 0; i < count; ++i) {
    const bool survives = words[i] >= least && keep[i] != 0;
    keep[i] = static_cast<std::uint8_t>(survives);
    values[i] = survives ? values[i] * factor : Real{0};
  }
}

COLONNADE_WIDE_VERSIONS void drop_now(const std::uint32_t* words, std::uint32_t least, float factor, std::int64_t count,
                                      float* values, std::uint8_t* keep) {
  drop_block(words, least, factor, count, values, keep);
}
COLONNADE_WIDE_VERSIONS void drop_now(const std::uint32_t* words, std::uint32_t least, double factor,
                                      std::int64_t count, double* values, std::uint8_t* keep) {
  drop_block(words, least, factor, count, values, keep);
}
COLONNADE_WIDE_VERSIONS void drop_masked_now(const std::uint32_t* words, std::uint32_t least, float factor,
                                             std::int64_t count, float* values, std::uint8_t* keep) {
  drop_masked_block(words, least, factor, count, values, keep);
}
COLONNADE_WIDE_VERSIONS void drop_masked_now(const std::uint32_t* words, std::uint32_t least, double factor,
                                             std::int64_t count, double* values, std::uint8_t* keep) {
  drop_masked_block(words, least, factor, count, values, keep);
}
COLONNADE_WIDE_VERSIONS std::int64_t count_refilled(const std::uint32_t* words, std::uint32_t below, std::int64_t count,
                                                    const std::uint8_t* keep) {
  std::int64_t refilled = 0;
  for (std::int64_t i = 0; i < count; ++i) refilled += (words[i] < below) & (keep[i] != 0);
  return refilled;
}
COLONNADE_WIDE_VERSIONS std::int64_t count_kept(std::int64_t count, const std::uint8_t* keep) {
  std::int64_t kept = 0;
  for (std::int64_t i = 0; i < count; ++i) kept += keep[i];
  return kept;
}

// In double and in order, so that a site's sum does not depend on the width of a machine's vectors.
template <typename Real>
double sum_of_sizes(const Real* values, std::int64_t count) {
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += std::abs(static_cast<double>(values[i]));
  return sum;
}

template <typename Real>
void drop_all(std::int64_t count, Real* values, std::uint8_t* keep) {
  std::fill_n(values, count, Real{0});
  std::fill_n(keep, count, std::uint8_t{0});
}

}  // namespace

template <typename Real>
DropCounts drop_elements(const ElementRule& rule, std::uint64_t first, std::int64_t count, Real factor, bool masked,
                         bool norms, Real* values, bool* keep) {
  const Cut cut(rule.threshold), earlier(rule.earlier);
  auto* flags = reinterpret_cast<std::uint8_t*>(keep);
  std::array<std::uint32_t, kBlock> words;
  DropCounts counts;
  for (std::int64_t at = 0; at < count; at += kBlock) {
    const std::int64_t here = std::min(kBlock, count - at);
    random_words(rule.numbers, first + static_cast<std::uint64_t>(at), {words.data(), static_cast<std::size_t>(here)});
    if (norms) counts.before += sum_of_sizes(values + at, here);
    // What is scaled after the sums are known is not scaled here: then the factor is 1.
    if (masked && rule.earlier > 0 && !earlier.none) {
      counts.refilled += count_refilled(words.data(), earlier.least, here, flags + at);
    }
    if (cut.none) {
      drop_all(here, values + at, flags + at);
    } else if (masked) {
      drop_masked_now(words.data(), cut.least, factor, here, values + at, flags + at);
    } else {
      drop_now(words.data(), cut.least, factor, here, values + at, flags + at);
    }
    counts.kept += count_kept(here, flags + at);
    if (norms) counts.after += sum_of_sizes(values + at, here) / std::abs(static_cast<double>(factor));
  }
  return counts;
}

template <typename Real>
DropCounts drop_elements_plain(const ElementRule& rule, std::uint64_t first, std::int64_t count, Real factor,
                               bool masked, bool norms, Real* values, bool* keep) {
  DropCounts counts;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t word = random_word(rule.numbers, first + static_cast<std::uint64_t>(i));
    const bool was_kept = !masked || keep[i];
    if (masked && was_kept && word < rule.earlier) ++counts.refilled;
    keep[i] = was_kept && word >= rule.threshold;
    if (norms) counts.before += std::abs(static_cast<double>(values[i]));
    if (norms && keep[i]) counts.after += std::abs(static_cast<double>(values[i]));
    values[i] = keep[i] ? values[i] * factor : Real{0};
    counts.kept += keep[i] ? 1 : 0;
  }
  return counts;
}

ExactCut exact_cut(const RandomStream& numbers, std::uint64_t count, std::uint64_t dropped) {
  if (dropped == 0) return {};
  if (dropped >= count) return {kAllWords, {}};
  constexpr int bin_bits = 16;
  std::vector<std::uint32_t> words(kBlock);
  const auto each = [&](auto act) {
    for (std::uint64_t at = 0; at < count; at += kBlock) {
      const std::uint64_t here = std::min<std::uint64_t>(kBlock, count - at);
      random_words(numbers, at, {words.data(), here});
      for (std::uint64_t i = 0; i < here; ++i) act(at + i, words[i]);
    }
  };
  std::vector<std::uint64_t> bins(std::size_t{1} << bin_bits);
  each([&](std::uint64_t, std::uint32_t word) { ++bins[word >> (32 - bin_bits)]; });
  std::uint64_t below = 0;
  std::size_t bin = 0;
  while (below + bins[bin] < dropped) below += bins[bin++];
  // The last element to drop lies in this bin.
  std::vector<std::pair<std::uint32_t, std::uint64_t>> candidates;
  each([&](std::uint64_t index, std::uint32_t word) {
    if (word >> (32 - bin_bits) == bin) candidates.emplace_back(word, index);
  });
  std::sort(candidates.begin(), candidates.end());
  const std::size_t last = static_cast<std::size_t>(dropped - below) - 1;
  ExactCut cut{candidates[last].first, {}};
  for (std::size_t i = 0; i <= last; ++i) {
    if (candidates[i].first == cut.threshold) cut.ties.push_back(candidates[i].second);
  }
  return cut;
}

template DropCounts drop_elements<float>(const ElementRule&, std::uint64_t, std::int64_t, float, bool, bool, float*,
                                         bool*);
template DropCounts drop_elements<double>(const ElementRule&, std::uint64_t, std::int64_t, double, bool, bool, double*,
                                          bool*);
template DropCounts drop_elements_plain<float>(const ElementRule&, std::uint64_t, std::int64_t, float, bool, bool,
                                               float*, bool*);
template DropCounts drop_elements_plain<double>(const ElementRule&, std::uint64_t, std::int64_t, double, bool, bool,
                                                double*, bool*);

}  // namespace colonnade::dare
