// Where a vocabulary comes from: published files, or texts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tokenizer.h"

namespace colonnade::clip {

/// Reads tokenizer.json, vocab.json with the merges.txt beside it, the authors' bpe_simple_vocab_16e6.txt (packed by
/// gzip or not), or a folder that holds any of these. Throws Error(input) naming file, entry or line.
Vocabulary read_vocabulary(const std::string& path);

/// `size` tokens: those of single bytes, and the most frequent pairs of what stands together in words, merged one after
/// another (Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", 2016); of equally frequent
/// pairs the one of lower ids. Throws Error(input) if the texts have not so many.
Vocabulary learn_vocabulary(const std::vector<std::string>& texts, std::int64_t size);

}  // namespace colonnade::clip
