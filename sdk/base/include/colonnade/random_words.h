#pragma once

#include <cstdint>
#include <span>

#include "colonnade/random.h"

namespace colonnade {

// Numbers of 32 bits for work on whole weights, where a block of Philox for each element would cost more than the
// memory it reads. Word i of a stream is word i % 4 of its block i / 4; these blocks are shared with no other kind of
// number.
std::uint32_t random_word(const RandomStream& stream, std::uint64_t index);

// out[i] = random_word(stream, first + i), many at a time. Same words on every machine.
void random_words(const RandomStream& stream, std::uint64_t first, std::span<std::uint32_t> out);

// The smallest word of at least `probability` when a word is read as a number in [0, 1): word >= word_threshold(p) has
// probability 1 - p, to 2^-32. From 0 to 2^32. Throws Error(op) for numbers outside 0 to 1.
std::uint64_t word_threshold(double probability);

}  // namespace colonnade
