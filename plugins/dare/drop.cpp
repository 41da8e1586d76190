#include "drop.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "wide_versions.h"

namespace colonnade::dare {

namespace {

// Words of so many elements stay in the first-level cache between being made and being used.
constexpr std::int64_t kBlock = 2048;
constexpr std::uint64_t kAllWords = std::uint64_t{1} << 32;

// Comparisons are of words below 2^32; a threshold of 2^32, which none reaches, is `last` with `none` set.
struct Cut {
  std::uint32_t least = 0;
  bool none = false;

  explicit Cut(std::uint64_t threshold)
      : least(static_cast<std::uint32_t>(std::min(threshold, kAllWords - 1))), none(threshold >= kAllWords) {}
};

template <typename Real>
inline __attribute__((always_inline)) void drop_block(const std::uint32_t* words, std::uint32_t least, Real factor,
                                                      std::int64_t count, const Real* values, Real* out,
                                                      std::uint8_t* keep) {
  for (std::int64_t i = 0; i < count; ++i) {
    const bool survives = words[i] >= least;
    keep[i] = static_cast<std::uint8_t>(survives);
    out[i] = survives ? values[i] * factor : Real{0};
  }
}

template <typename Real>
inline __attribute__((always_inline)) void drop_masked_block(const std::uint32_t* words, std::uint32_t least,
                                                             Real factor, std::int64_t count, const Real* values,
                                                             const std::uint8_t* mask, Real* out, std::uint8_t* keep) {
  for (std::int64_t i = 0; i < count; ++i) {
    const bool survives = words[i] >= least && mask[i] != 0;
    keep[i] = static_cast<std::uint8_t>(survives);
    out[i] = survives ? values[i] * factor : Real{0};
  }
}

COLONNADE_WIDE_VERSIONS void drop_now(const std::uint32_t* words, std::uint32_t least, float factor, std::int64_t count,
                                      const float* values, float* out, std::uint8_t* keep) {
  drop_block(words, least, factor, count, values, out, keep);
}
COLONNADE_WIDE_VERSIONS void drop_now(const std::uint32_t* words, std::uint32_t least, double factor,
                                      std::int64_t count, const double* values, double* out, std::uint8_t* keep) {
  drop_block(words, least, factor, count, values, out, keep);
}
COLONNADE_WIDE_VERSIONS void drop_masked_now(const std::uint32_t* words, std::uint32_t least, float factor,
                                             std::int64_t count, const float* values, const std::uint8_t* mask,
                                             float* out, std::uint8_t* keep) {
  drop_masked_block(words, least, factor, count, values, mask, out, keep);
}
COLONNADE_WIDE_VERSIONS void drop_masked_now(const std::uint32_t* words, std::uint32_t least, double factor,
                                             std::int64_t count, const double* values, const std::uint8_t* mask,
                                             double* out, std::uint8_t* keep) {
  drop_masked_block(words, least, factor, count, values, mask, out, keep);
}
COLONNADE_WIDE_VERSIONS void scale_kept(float factor, std::int64_t count, const std::uint8_t* keep, float* values) {
  for (std::int64_t i = 0; i < count; ++i) values[i] = keep[i] != 0 ? values[i] * factor : 0.0F;
}
COLONNADE_WIDE_VERSIONS void scale_kept(double factor, std::int64_t count, const std::uint8_t* keep, double* values) {
  for (std::int64_t i = 0; i < count; ++i) values[i] = keep[i] != 0 ? values[i] * factor : 0.0;
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

// In double, by lanes whose number is fixed, so that a sum does not depend on the width of a machine's vectors.
constexpr std::int64_t kLanes = 16;

template <typename Real>
inline __attribute__((always_inline)) double sum_by_lanes(const Real* values, std::int64_t count) {
  double lanes[kLanes] = {};
  const std::int64_t whole = count / kLanes * kLanes;
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    for (std::int64_t k = 0; k < kLanes; ++k) lanes[k] += std::abs(static_cast<double>(values[i + k]));
  }
  for (std::int64_t i = whole; i < count; ++i) lanes[i - whole] += std::abs(static_cast<double>(values[i]));
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

COLONNADE_WIDE_VERSIONS double sum_of_sizes(const float* values, std::int64_t count) {
  return sum_by_lanes(values, count);
}
COLONNADE_WIDE_VERSIONS double sum_of_sizes(const double* values, std::int64_t count) {
  return sum_by_lanes(values, count);
}

void fill_words(const ElementRule& rule, std::uint64_t first, std::span<std::uint32_t> out) {
  if (!rule.order.moved()) {
    random_words(rule.numbers, first, out);
    return;
  }
  const std::uint64_t length = rule.order.row_length;
  std::vector<std::uint32_t> row(length);
  for (std::size_t done = 0; done < out.size();) {
    const std::uint64_t at = first + done, column = at % length;
    const std::size_t here = std::min<std::size_t>(out.size() - done, length - column);
    const std::uint64_t now = at / length;
    const std::uint64_t before = rule.order.rows.empty() ? now : static_cast<std::uint64_t>(rule.order.rows[now]);
    if (rule.order.columns.empty()) {
      random_words(rule.numbers, before * length + column, out.subspan(done, here));
    } else {
      random_words(rule.numbers, before * length, row);
      for (std::size_t i = 0; i < here; ++i) {
        out[done + i] = row[static_cast<std::size_t>(rule.order.columns[column + i])];
      }
    }
    done += here;
  }
}

const std::uint8_t* flags(const bool* mask) {
  return reinterpret_cast<const std::uint8_t*>(mask);
}
std::uint8_t* flags(bool* mask) {
  return reinterpret_cast<std::uint8_t*>(mask);
}

}  // namespace

std::uint64_t ElementOrder::original(std::uint64_t element) const {
  const std::uint64_t row = element / row_length, column = element % row_length;
  const std::uint64_t row_before = rows.empty() ? row : static_cast<std::uint64_t>(rows[row]);
  const std::uint64_t column_before = columns.empty() ? column : static_cast<std::uint64_t>(columns[column]);
  return row_before * row_length + column_before;
}

template <typename Real>
void drop_elements(const ElementRule& rule, const ElementRange<Real>& range, Real factor, bool norms,
                   DropCounts& counts) {
  const Cut cut(rule.threshold), earlier(rule.earlier);
  std::array<std::uint32_t, kBlock> words;
  for (std::int64_t at = 0; at < range.count; at += kBlock) {
    const std::int64_t here = std::min(kBlock, range.count - at);
    fill_words(rule, range.first + static_cast<std::uint64_t>(at), {words.data(), static_cast<std::size_t>(here)});
    const Real* values = range.values + at;
    Real* out = range.out + at;
    std::uint8_t* keep = flags(range.keep) + at;
    if (norms) counts.before += sum_of_sizes(values, here);
    // What is scaled after the sums are known is not scaled here: then the factor is 1.
    if (range.mask != nullptr && rule.earlier > 0 && !earlier.none) {
      counts.refilled += count_refilled(words.data(), earlier.least, here, flags(range.mask) + at);
    }
    if (cut.none) {
      std::fill_n(out, here, Real{0});
      std::fill_n(keep, here, std::uint8_t{0});
    } else if (range.mask != nullptr) {
      drop_masked_now(words.data(), cut.least, factor, here, values, flags(range.mask) + at, out, keep);
    } else {
      drop_now(words.data(), cut.least, factor, here, values, out, keep);
    }
    counts.kept += count_kept(here, keep);
    if (norms) counts.after += sum_of_sizes(out, here) / std::abs(static_cast<double>(factor));
  }
}

template <typename Real>
void drop_elements_plain(const ElementRule& rule, const ElementRange<Real>& range, Real factor, bool norms,
                         DropCounts& counts) {
  for (std::int64_t i = 0; i < range.count; ++i) {
    const std::uint64_t element = range.first + static_cast<std::uint64_t>(i);
    const std::uint64_t word = random_word(rule.numbers, rule.order.moved() ? rule.order.original(element) : element);
    const bool was_kept = range.mask == nullptr || range.mask[i];
    const Real value = range.values[i];
    if (range.mask != nullptr && was_kept && word < rule.earlier) ++counts.refilled;
    range.keep[i] = was_kept && word >= rule.threshold;
    if (norms) counts.before += std::abs(static_cast<double>(value));
    if (norms && range.keep[i]) counts.after += std::abs(static_cast<double>(value));
    range.out[i] = range.keep[i] ? value * factor : Real{0};
    counts.kept += range.keep[i] ? 1 : 0;
  }
}

template <typename Real>
void drop_decided(const bool* keep, std::int64_t count, Real factor, bool norms, Real* values, DropCounts& counts) {
  if (norms) counts.before += sum_of_sizes(values, count);
  scale_kept(factor, count, flags(keep), values);
  counts.kept += count_kept(count, flags(keep));
  if (norms) counts.after += sum_of_sizes(values, count) / std::abs(static_cast<double>(factor));
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

template void drop_elements<float>(const ElementRule&, const ElementRange<float>&, float, bool, DropCounts&);
template void drop_elements<double>(const ElementRule&, const ElementRange<double>&, double, bool, DropCounts&);
template void drop_elements_plain<float>(const ElementRule&, const ElementRange<float>&, float, bool, DropCounts&);
template void drop_elements_plain<double>(const ElementRule&, const ElementRange<double>&, double, bool, DropCounts&);
template void drop_decided<float>(const bool*, std::int64_t, float, bool, float*, DropCounts&);
template void drop_decided<double>(const bool*, std::int64_t, double, bool, double*, DropCounts&);

bool beyond_chance(std::int64_t kept, std::int64_t of, double keep_rate) {
  constexpr double nats = 60;
  if (of == 0 || keep_rate <= 0) return false;
  const double share = static_cast<double>(kept) / static_cast<double>(of);
  if (!(share > keep_rate)) return false;
  const double of_dropped = share < 1 ? (1 - share) * std::log((1 - share) / (1 - keep_rate)) : 0;
  return static_cast<double>(of) * (share * std::log(share / keep_rate) + of_dropped) > nats;
}

}  // namespace colonnade::dare
