#include <algorithm>
#include <map>
#include <set>

#include "colonnade/error.h"
#include "colonnade/unicode.h"
#include "normalise.h"
#include "vocabulary.h"

namespace colonnade::clip {
namespace {

using Pair = std::pair<std::int32_t, std::int32_t>;

struct Word {
  std::vector<std::int32_t> ids;
  std::int64_t count = 0;
};

/// Words and the pairs in them, kept up to date as pairs merge.
class PairCounts {
 public:
  explicit PairCounts(std::vector<Word> words) : words_(std::move(words)) {
    for (std::size_t i = 0; i < words_.size(); ++i) add(i, 1);
  }

  /// The most frequent pair, of several the lowest; false if there is none.
  bool best(Pair& pair) const {
    std::int64_t most = 0;
    for (const auto& [candidate, entry] : pairs_) {
      if (entry.count <= most) continue;
      most = entry.count;
      pair = candidate;
    }
    return most > 0;
  }

  void merge(const Pair& pair, std::int32_t id) {
    const std::set<std::size_t> affected = pairs_.at(pair).words;
    for (const std::size_t index : affected) {
      add(index, -1);
      std::vector<std::int32_t>& ids = words_[index].ids;
      std::vector<std::int32_t> merged;
      for (std::size_t i = 0; i < ids.size(); ++i) {
        const bool here = i + 1 < ids.size() && ids[i] == pair.first && ids[i + 1] == pair.second;
        merged.push_back(here ? id : ids[i]);
        if (here) ++i;
      }
      ids = std::move(merged);
      add(index, 1);
    }
    pairs_.erase(pair);
  }

 private:
  struct Entry {
    std::int64_t count = 0;
    std::set<std::size_t> words;
  };

  void add(std::size_t index, std::int64_t sign) {
    const Word& word = words_[index];
    for (std::size_t i = 0; i + 1 < word.ids.size(); ++i) {
      Entry& entry = pairs_[{word.ids[i], word.ids[i + 1]}];
      entry.count += sign * word.count;
      if (sign > 0) entry.words.insert(index);
    }
  }

  std::vector<Word> words_;
  std::map<Pair, Entry> pairs_;
};

std::vector<Word> words_in(const std::vector<std::string>& texts, const Vocabulary& bytes) {
  std::map<std::string, std::int64_t> counts;
  for (const std::string& text : texts) {
    for (const std::string& word : words_of(normalised(well_formed(text)))) ++counts[word];
  }
  std::map<std::string, std::int32_t> ids;
  for (std::size_t i = 0; i < bytes.tokens.size(); ++i) ids[bytes.tokens[i]] = static_cast<std::int32_t>(i);
  std::vector<Word> words;
  for (const auto& [text, count] : counts) {
    Word& word = words.emplace_back();
    word.count = count;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const std::string& byte = byte_text(static_cast<std::uint8_t>(text[i]));
      word.ids.push_back(ids.at(i + 1 == text.size() ? byte + kWordEnd : byte));
    }
  }
  return words;
}

}  // namespace

Vocabulary learn_vocabulary(const std::vector<std::string>& texts, std::int64_t size) {
  Vocabulary vocabulary = byte_vocabulary();
  const auto fewest = static_cast<std::int64_t>(vocabulary.tokens.size());
  if (size < fewest) {
    throw Error(ErrorKind::input,
                "a vocabulary of " + std::to_string(size) + " tokens; the bytes alone take " + std::to_string(fewest));
  }
  constexpr std::size_t kLimits = 2;
  vocabulary.tokens.resize(vocabulary.tokens.size() - kLimits);
  PairCounts counts(words_in(texts, vocabulary));
  Pair pair;
  while (static_cast<std::int64_t>(vocabulary.tokens.size() + kLimits) < size) {
    if (!counts.best(pair)) {
      throw Error(ErrorKind::input, "the texts give a vocabulary of " +
                                        std::to_string(vocabulary.tokens.size() + kLimits) +
                                        " tokens at most, asked for were " + std::to_string(size));
    }
    const std::string& left = vocabulary.tokens[static_cast<std::size_t>(pair.first)];
    const std::string& right = vocabulary.tokens[static_cast<std::size_t>(pair.second)];
    vocabulary.merges.emplace_back(left, right);
    const std::string merged = left + right;
    counts.merge(pair, static_cast<std::int32_t>(vocabulary.tokens.size()));
    vocabulary.tokens.push_back(merged);
  }
  vocabulary.tokens.emplace_back(kStartToken);
  vocabulary.tokens.emplace_back(kEndToken);
  return vocabulary;
}

}  // namespace colonnade::clip
