#include "tokenizer.h"

#include "colonnade/error.h"
#include "colonnade/unicode.h"
#include "normalise.h"

namespace colonnade::clip {
namespace {

constexpr int kBytes = 256;
constexpr const char* kDataTensor = "vocabulary";

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorKind::input, "a tokenizer: " + what);
}

}  // namespace

Vocabulary byte_vocabulary() {
  Vocabulary vocabulary;
  for (const bool wanted : {true, false}) {
    for (int byte = 0; byte < kBytes; ++byte) {
      if (is_printable_byte(static_cast<std::uint8_t>(byte)) == wanted)
        vocabulary.tokens.push_back(byte_text(static_cast<std::uint8_t>(byte)));
    }
  }
  for (int i = 0; i < kBytes; ++i) vocabulary.tokens.push_back(vocabulary.tokens[static_cast<size_t>(i)] + kWordEnd);
  vocabulary.tokens.emplace_back(kStartToken);
  vocabulary.tokens.emplace_back(kEndToken);
  return vocabulary;
}

Tokenizer::Tokenizer(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {
  for (std::size_t id = 0; id < vocabulary_.tokens.size(); ++id) {
    const bool fresh = ids_.emplace(vocabulary_.tokens[id], static_cast<std::int32_t>(id)).second;
    if (!fresh) refuse("the token '" + vocabulary_.tokens[id] + "' has two ids");
  }
  const auto known = [&](const std::string& token, const std::string& what) {
    const auto found = ids_.find(token);
    if (found == ids_.end()) refuse("'" + token + "', " + what + ", is not in the vocabulary");
    return found->second;
  };
  start_ = known(kStartToken, "which starts every text");
  end_ = known(kEndToken, "which ends every text");
  for (std::size_t rank = 0; rank < vocabulary_.merges.size(); ++rank) {
    const auto& [left, right] = vocabulary_.merges[rank];
    const std::string where = "of merge " + std::to_string(rank + 1);
    const std::int32_t first = known(left, "the left part " + where);
    const std::int32_t second = known(right, "the right part " + where);
    merges_.add(first, second, known(left + right, "the result " + where));
  }
}

std::int32_t Tokenizer::id_of(const std::string& token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? end_ : found->second;
}

void Tokenizer::encode_word(const std::string& word, std::vector<std::int32_t>& ids) const {
  std::vector<std::int32_t> symbols;
  for (std::size_t i = 0; i < word.size(); ++i) {
    const std::string& text = byte_text(static_cast<std::uint8_t>(word[i]));
    symbols.push_back(id_of(i + 1 == word.size() ? text + kWordEnd : text));
  }
  merges_.apply(symbols);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

void Tokenizer::encode_part(std::string_view text, std::vector<std::int32_t>& ids) const {
  for (const std::string& word : words_of(normalised(text))) encode_word(word, ids);
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view given) const {
  const std::string text = well_formed(given);
  std::vector<std::int32_t> ids;
  std::size_t begin = 0;
  // The tokens of limits, spelt out in a text, stand for themselves.
  while (begin < text.size()) {
    const std::size_t start = text.find(kStartToken, begin), end = text.find(kEndToken, begin);
    const std::size_t next = std::min(start, end);
    encode_part(std::string_view(text).substr(begin, next - begin), ids);
    if (next == std::string::npos) break;
    ids.push_back(next == start ? start_ : end_);
    begin = next + std::string_view(next == start ? kStartToken : kEndToken).size();
  }
  return ids;
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, std::int64_t length) const {
  constexpr std::int64_t kLimits = 2;
  if (length < kLimits) refuse("texts of " + std::to_string(length) + " tokens have no room for start and end");
  std::vector<std::int32_t> ids = encode(text);
  const auto room = static_cast<std::size_t>(length - kLimits);
  if (ids.size() > room) ids.resize(room);
  ids.insert(ids.begin(), start_);
  ids.push_back(end_);
  ids.resize(static_cast<std::size_t>(length), 0);
  return ids;
}

Field to_field(const Tokenizer& tokenizer) {
  Field field;
  field.type = kTokenizerType;
  field.document = {{"size", tokenizer.size()}};
  const Json data = {{"tokens", tokenizer.vocabulary().tokens}, {"merges", tokenizer.vocabulary().merges}};
  const std::string text = data.dump();
  field.tensors.emplace(kDataTensor, Blob::copy(DType::u8, {static_cast<std::int64_t>(text.size())}, text.data()));
  field.carries = {"clip"};
  return field;
}

Tokenizer tokenizer_from(const Field& field) {
  const auto found = field.tensors.find(kDataTensor);
  if (field.type != kTokenizerType || found == field.tensors.end()) {
    refuse("a field of type '" + field.type + "' was given where '" + kTokenizerType + "' is needed");
  }
  const char* text = found->second.as<char>();
  const Json data = Json::parse(text, text + found->second.size(), nullptr, false);
  try {
    return Tokenizer({data.at("tokens").get<std::vector<std::string>>(), data.at("merges").get<std::vector<Merge>>()});
  } catch (const Json::exception& problem) {
    refuse(std::string("its vocabulary cannot be read: ") + problem.what());
  }
}

}  // namespace colonnade::clip
