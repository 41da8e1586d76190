#include "colonnade/random_words.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "colonnade/error.h"

#if defined(__x86_64__)
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes the header's own registers of undefined content for mistakes.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#endif

namespace colonnade {
namespace {

// The third word of the counter; random.cpp has the other uses.
constexpr std::uint32_t kUseWords = 4;
constexpr std::uint64_t kWordsOfBlock = 4;
constexpr int kRounds = 10;

std::array<std::uint32_t, 4> word_block(std::uint64_t key, std::uint64_t index) {
  const auto low = static_cast<std::uint32_t>(index), high = static_cast<std::uint32_t>(index >> 32);
  return philox({low, high, kUseWords, 0}, {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)});
}

void words_plain(std::uint64_t key, std::uint64_t first_block, std::uint64_t blocks, std::uint32_t* out) {
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const auto words = word_block(key, first_block + i);
    std::copy(words.begin(), words.end(), out + i * kWordsOfBlock);
  }
}

#if defined(__x86_64__)

constexpr long long kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;

// Counters stand one to a lane of 64 bits, a word to a register; only the low half of a lane means anything, which is
// all that the multiplication reads. `Vector` is the processor's width; two are in flight to hide the multiplier's
// latency.
#define COLONNADE_PHILOX_ROUNDS(MUL, SHIFT, XOR, SET)                                                 \
  std::uint32_t key0 = static_cast<std::uint32_t>(key), key1 = static_cast<std::uint32_t>(key >> 32); \
  for (int round = 0; round < kRounds; ++round) {                                                     \
    const auto k0 = SET(key0), k1 = SET(key1);                                                        \
    for (int v = 0; v < kInFlight; ++v) {                                                             \
      const auto p0 = MUL(m0, c[v][0]), p1 = MUL(m1, c[v][2]);                                        \
      c[v][0] = XOR(XOR(SHIFT(p1, 32), c[v][1]), k0);                                                 \
      c[v][1] = p1;                                                                                   \
      c[v][2] = XOR(XOR(SHIFT(p0, 32), c[v][3]), k1);                                                 \
      c[v][3] = p0;                                                                                   \
    }                                                                                                 \
    key0 += kWeyl0;                                                                                   \
    key1 += kWeyl1;                                                                                   \
  }

constexpr int kInFlight = 2;

__attribute__((target("avx2"))) std::uint64_t words_avx2(std::uint64_t key, std::uint64_t first_block,
                                                         std::uint64_t blocks, std::uint32_t* out) {
  constexpr std::uint64_t lanes = 4, step = lanes * kInFlight;
  const __m256i m0 = _mm256_set1_epi64x(kMultiplier0), m1 = _mm256_set1_epi64x(kMultiplier1);
  const __m256i low_half = _mm256_set1_epi64x(0xFFFFFFFF);
  std::uint64_t done = 0;
  for (; done + step <= blocks; done += step) {
    __m256i c[kInFlight][4];
    for (int v = 0; v < kInFlight; ++v) {
      const auto at = static_cast<long long>(first_block + done + static_cast<std::uint64_t>(v) * lanes);
      const __m256i index = _mm256_add_epi64(_mm256_set1_epi64x(at), _mm256_setr_epi64x(0, 1, 2, 3));
      c[v][0] = index;
      c[v][1] = _mm256_srli_epi64(index, 32);
      c[v][2] = _mm256_set1_epi64x(kUseWords);
      c[v][3] = _mm256_setzero_si256();
    }
    COLONNADE_PHILOX_ROUNDS(_mm256_mul_epu32, _mm256_srli_epi64, _mm256_xor_si256, _mm256_set1_epi64x)
    for (int v = 0; v < kInFlight; ++v) {
      const __m256i first = _mm256_or_si256(_mm256_and_si256(c[v][0], low_half), _mm256_slli_epi64(c[v][1], 32));
      const __m256i second = _mm256_or_si256(_mm256_and_si256(c[v][2], low_half), _mm256_slli_epi64(c[v][3], 32));
      const __m256i even = _mm256_unpacklo_epi64(first, second), odd = _mm256_unpackhi_epi64(first, second);
      auto* to = reinterpret_cast<__m256i*>(out + (done + static_cast<std::uint64_t>(v) * lanes) * kWordsOfBlock);
      _mm256_storeu_si256(to, _mm256_permute2x128_si256(even, odd, 0x20));
      _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(even, odd, 0x31));
    }
  }
  return done;
}

__attribute__((target("avx512f"))) std::uint64_t words_avx512(std::uint64_t key, std::uint64_t first_block,
                                                              std::uint64_t blocks, std::uint32_t* out) {
  constexpr std::uint64_t lanes = 8, step = lanes * kInFlight;
  const __m512i m0 = _mm512_set1_epi64(kMultiplier0), m1 = _mm512_set1_epi64(kMultiplier1);
  const __m512i low_half = _mm512_set1_epi64(0xFFFFFFFF);
  // Where the 64-bit halves of blocks 0..3 and 4..7 lie in the pair (first, second).
  const __m512i order0 = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
  const __m512i order1 = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
  std::uint64_t done = 0;
  for (; done + step <= blocks; done += step) {
    __m512i c[kInFlight][4];
    for (int v = 0; v < kInFlight; ++v) {
      const auto at = static_cast<long long>(first_block + done + static_cast<std::uint64_t>(v) * lanes);
      const __m512i index = _mm512_add_epi64(_mm512_set1_epi64(at), _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
      c[v][0] = index;
      c[v][1] = _mm512_srli_epi64(index, 32);
      c[v][2] = _mm512_set1_epi64(kUseWords);
      c[v][3] = _mm512_setzero_si512();
    }
    COLONNADE_PHILOX_ROUNDS(_mm512_mul_epu32, _mm512_srli_epi64, _mm512_xor_si512, _mm512_set1_epi64)
    for (int v = 0; v < kInFlight; ++v) {
      const __m512i first = _mm512_or_si512(_mm512_and_si512(c[v][0], low_half), _mm512_slli_epi64(c[v][1], 32));
      const __m512i second = _mm512_or_si512(_mm512_and_si512(c[v][2], low_half), _mm512_slli_epi64(c[v][3], 32));
      std::uint32_t* to = out + (done + static_cast<std::uint64_t>(v) * lanes) * kWordsOfBlock;
      _mm512_storeu_si512(to, _mm512_permutex2var_epi64(first, order0, second));
      _mm512_storeu_si512(to + lanes * 2, _mm512_permutex2var_epi64(first, order1, second));
    }
  }
  return done;
}

#endif

// Whole blocks.
void fill_blocks(std::uint64_t key, std::uint64_t first_block, std::uint64_t blocks, std::uint32_t* out) {
  std::uint64_t done = 0;
#if defined(__x86_64__)
  static const bool has_avx512 = __builtin_cpu_supports("avx512f") != 0;
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  if (has_avx512) {
    done = words_avx512(key, first_block, blocks, out);
  } else if (has_avx2) {
    done = words_avx2(key, first_block, blocks, out);
  }
#endif
  words_plain(key, first_block + done, blocks - done, out + done * kWordsOfBlock);
}

}  // namespace

std::uint32_t random_word(const RandomStream& stream, std::uint64_t index) {
  return word_block(stream.key(), index / kWordsOfBlock)[index % kWordsOfBlock];
}

void random_words(const RandomStream& stream, std::uint64_t first, std::span<std::uint32_t> out) {
  std::uint64_t done = 0;
  while (done < out.size() && (first + done) % kWordsOfBlock != 0) {
    out[done] = random_word(stream, first + done);
    ++done;
  }
  const std::uint64_t blocks = (out.size() - done) / kWordsOfBlock;
  fill_blocks(stream.key(), (first + done) / kWordsOfBlock, blocks, out.data() + done);
  for (done += blocks * kWordsOfBlock; done < out.size(); ++done) out[done] = random_word(stream, first + done);
}

std::uint64_t word_threshold(double probability) {
  if (!(probability >= 0 && probability <= 1)) throw Error(ErrorKind::op, "a probability lies between 0 and 1");
  return static_cast<std::uint64_t>(std::ceil(std::ldexp(probability, 32)));
}

}  // namespace colonnade
