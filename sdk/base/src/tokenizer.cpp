#include "colonnade/tokenizer.h"

#include "byte_pair_vocabulary.h"
#include "colonnade/byte_pairs.h"
#include "colonnade/error.h"
#include "colonnade/unicode.h"

namespace colonnade {

namespace {

constexpr std::int64_t kBytes = 256;
constexpr const char* kType = "tokenizer";
constexpr const char* kTensor = "json";

using Codes = std::vector<char32_t>;

bool stands_at(const Codes& codes, std::size_t at, std::u32string_view text) {
  return codes.size() - at >= text.size() &&
         std::equal(text.begin(), text.end(), codes.begin() + static_cast<std::ptrdiff_t>(at));
}

std::size_t run_of(const Codes& codes, std::size_t at, CharacterKind kind) {
  std::size_t end = at;
  while (end < codes.size() && kind_of(codes[end]) == kind) ++end;
  return end - at;
}

// How many characters the word that begins at `at` has: a contraction; letters, numbers or anything else that is not
// white space, with the blank before them; white space, but for its last character where a word follows.
std::size_t word_length(const Codes& codes, std::size_t at) {
  for (const std::u32string_view each : {U"'s", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"}) {
    if (stands_at(codes, at, each)) return each.size();
  }
  const std::size_t blank = codes[at] == U' ' && at + 1 < codes.size() ? 1 : 0;
  const CharacterKind kind = kind_of(codes[at + blank]);
  if (kind != CharacterKind::space) return blank + run_of(codes, at + blank, kind);
  const std::size_t spaces = run_of(codes, at, CharacterKind::space);
  return spaces > 1 && at + spaces < codes.size() ? spaces - 1 : spaces;
}

}  // namespace

class Tokenizer::Pairs {
 public:
  Pairs(std::string_view json, const std::string& where) : vocabulary_(read_byte_pair_vocabulary(json, where)) {}

  std::int64_t size() const { return vocabulary_.size; }

  std::vector<std::int32_t> encode(std::string_view given) const {
    std::vector<std::int32_t> ids;
    Known known;
    split(
        well_formed(given), vocabulary_.added,
        [&](std::string_view raw) {
          const std::string text = vocabulary_.compose ? composed(raw) : std::string(raw);
          split(
              text, vocabulary_.added_normalised, [&](std::string_view part) { encode_words(part, known, ids); }, ids);
        },
        ids);
    return ids;
  }

  std::string decode(std::span<const std::int64_t> ids) const {
    std::string bytes;
    for (const std::int64_t id : ids) {
      const auto found = id < 0 || id >= size() ? nullptr : &vocabulary_.bytes[static_cast<std::size_t>(id)];
      if (found == nullptr || !found->has_value()) {
        throw Error(ErrorKind::input, "token " + std::to_string(id) + " is not in the vocabulary of " +
                                          std::to_string(size()) + " tokens");
      }
      bytes += **found;
    }
    return bytes;
  }

 private:
  using Known = std::unordered_map<std::string, std::vector<std::int32_t>>;  // words that were encoded before

  // Calls run(part) for what lies between added tokens and appends the ids of these: the leftmost, of several the
  // longest.
  template <typename Run>
  static void split(std::string_view text, const AddedTokens& added, const Run& run, std::vector<std::int32_t>& ids) {
    std::size_t begin = 0;
    for (std::size_t at = 0; at < text.size();) {
      const AddedToken* const found = added.at(text.substr(at));
      if (found == nullptr) {
        ++at;
        continue;
      }
      if (at > begin) run(text.substr(begin, at - begin));
      ids.push_back(found->id);
      at += found->text.size();
      begin = at;
    }
    if (begin < text.size()) run(text.substr(begin));
  }

  void encode_words(std::string_view part, Known& known, std::vector<std::int32_t>& ids) const {
    const bool blank = vocabulary_.blank_first && !part.starts_with(' ');
    const Codes codes = code_points(blank ? " " + std::string(part) : std::string(part));
    for (std::size_t at = 0; at < codes.size();) {
      const std::size_t size = word_length(codes, at);
      std::string word;
      for (std::size_t i = at; i < at + size; ++i) append_utf8(word, codes[i]);
      at += size;
      auto found = known.find(word);
      if (found == known.end()) {
        constexpr std::size_t kMost = 1U << 18U;
        if (known.size() >= kMost) known.clear();
        found = known.emplace(word, encode_word(word)).first;
      }
      ids.insert(ids.end(), found->second.begin(), found->second.end());
    }
  }

  std::vector<std::int32_t> encode_word(const std::string& word) const {
    if (vocabulary_.whole_words) {
      std::string name;
      for (const char byte : word) name += byte_text(static_cast<std::uint8_t>(byte));
      if (const auto found = vocabulary_.ids.find(name); found != vocabulary_.ids.end()) return {found->second};
    }
    std::vector<std::int32_t> ids;
    for (const char byte : word) {
      // What the vocabulary lacks is left out, as the reference does.
      if (const auto id = vocabulary_.byte_ids[static_cast<std::uint8_t>(byte)]; id >= 0) ids.push_back(id);
    }
    vocabulary_.merges.apply(ids);
    return ids;
  }

  BytePairVocabulary vocabulary_;
};

Tokenizer::Tokenizer(std::string_view json, const std::string& where)
    : pairs_(std::make_shared<const Pairs>(json, where)), json_(std::make_shared<const std::string>(json)) {}

std::int64_t Tokenizer::size() const {
  return is_bytes() ? kBytes : pairs_->size();
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text) const {
  if (!is_bytes()) return pairs_->encode(text);
  std::vector<std::int32_t> ids;
  ids.reserve(text.size());
  for (const char byte : text) ids.push_back(static_cast<unsigned char>(byte));
  return ids;
}

std::string Tokenizer::decode(std::span<const std::int64_t> ids) const {
  if (!is_bytes()) return pairs_->decode(ids);
  std::string bytes;
  for (const std::int64_t id : ids) {
    if (id < 0 || id >= kBytes) {
      throw Error(ErrorKind::input,
                  "token " + std::to_string(id) + " is no byte; give the tokenizer that made the text");
    }
    bytes.push_back(static_cast<char>(id));
  }
  return bytes;
}

Field to_field(const Tokenizer& tokenizer) {
  Field field;
  field.type = kType;
  field.document = {{"kind", tokenizer.is_bytes() ? "bytes" : "byte pairs"}, {"size", tokenizer.size()}};
  if (tokenizer.is_bytes()) return field;
  const std::string& json = *tokenizer.json_;
  field.tensors.emplace(kTensor, Blob::copy(DType::u8, {static_cast<std::int64_t>(json.size())}, json.data()));
  return field;
}

Tokenizer tokenizer_from(const Field& field) {
  if (field.type != kType) {
    throw Error(ErrorKind::input, "a field of type '" + field.type + "' was given where '" + kType + "' is needed");
  }
  const auto found = field.tensors.find(kTensor);
  if (found == field.tensors.end()) return Tokenizer();
  return Tokenizer(std::string_view(found->second.as<char>(), found->second.size()), "the stored tokenizer");
}

}  // namespace colonnade
