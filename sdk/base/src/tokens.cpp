#include "colonnade/tokens.h"

#include <algorithm>
#include <functional>

#include "colonnade/error.h"

namespace colonnade {
namespace {

constexpr const char* kIds = "ids";
constexpr const char* kDocuments = "documents";
constexpr const char* kLines = "lines";

void require_id_dtype(DType dtype) {
  if (dtype == DType::u8 || dtype == DType::i32) return;
  throw Error(ErrorKind::input, "tokens: the ids are " + std::string(dtype_name(dtype)) + "; allowed: u8, i32");
}

std::string text_entry(const Json& document, const char* name) {
  const auto entry = document.find(name);
  if (entry != document.end() && entry->is_string()) return entry->get<std::string>();
  throw Error(ErrorKind::input, std::string("tokens: the document has no text '") + name + "'");
}

std::int64_t count_entry(const Json& document, const char* name) {
  const auto entry = document.find(name);
  const bool good = entry != document.end() && entry->is_number_integer() && entry->get<std::int64_t>() >= 0;
  if (good) return entry->get<std::int64_t>();
  throw Error(ErrorKind::input, std::string("tokens: the document has no count '") + name + "'");
}

template <typename Id>
void require_in_vocabulary(const Tokens& tokens) {
  const Id* ids = tokens.ids.as<Id>();
  const Id* end = ids + tokens.count();
  const Id* outside = std::find_if(ids, end, [&](Id id) {
    return static_cast<std::int64_t>(id) < 0 || static_cast<std::int64_t>(id) >= tokens.vocabulary_size;
  });
  if (outside == end) return;
  throw Error(ErrorKind::input, "tokens: id " + std::to_string(*outside) + " at position " +
                                    std::to_string(outside - ids) + " is outside the vocabulary '" + tokens.vocabulary +
                                    "'; allowed: 0 to " + std::to_string(tokens.vocabulary_size - 1));
}

void check_documents(const Tokens& tokens) {
  const std::vector<std::int64_t>& starts = tokens.documents;
  if (starts.empty()) return;
  const bool rising = std::adjacent_find(starts.begin(), starts.end(), std::greater_equal<>()) == starts.end();
  if (rising && starts.front() == 0 && starts.back() < tokens.count()) return;
  throw Error(ErrorKind::input,
              "tokens: the documents begin at no rising positions from 0 to " + std::to_string(tokens.count() - 1));
}

void check(const Tokens& tokens) {
  constexpr std::int64_t kByteIds = 256;
  require_id_dtype(tokens.ids.dtype());
  if (tokens.ids.shape().size() != 1)
    throw Error(ErrorKind::input, "tokens: the ids are not one row; allowed: [count]");
  if (tokens.vocabulary_size < 1) {
    throw Error(ErrorKind::input, "tokens: vocabulary_size = " + std::to_string(tokens.vocabulary_size) +
                                      "; allowed: an integer of at least 1");
  }
  check_documents(tokens);
  if (tokens.ids.dtype() == DType::i32) return require_in_vocabulary<std::int32_t>(tokens);
  if (tokens.vocabulary_size < kByteIds) require_in_vocabulary<std::uint8_t>(tokens);
}

}  // namespace

std::int64_t Tokens::id(std::int64_t position) const {
  if (position < 0 || position >= count()) {
    throw Error(ErrorKind::input,
                "tokens: no position " + std::to_string(position) + " in a text of " + std::to_string(count()));
  }
  require_id_dtype(ids.dtype());
  return ids.dtype() == DType::u8 ? ids.as<std::uint8_t>()[position] : ids.as<std::int32_t>()[position];
}

Field to_field(const Tokens& tokens) {
  check(tokens);
  Field field;
  field.type = "tokens";
  field.document = {{"vocabulary", tokens.vocabulary}, {"vocabulary_size", tokens.vocabulary_size},
                    {"split", tokens.split},           {"domain", tokens.domain},
                    {"bytes", tokens.bytes},           {"words", tokens.words}};
  if (tokens.lines > 0) field.document[kLines] = tokens.lines;
  field.tensors.emplace(kIds, tokens.ids);
  if (!tokens.documents.empty()) field.tensors.emplace(kDocuments, Blob::of(DType::i64, tokens.documents));
  return field;
}

Tokens tokens_from(const Field& field) {
  if (field.type != "tokens") {
    throw Error(ErrorKind::input, "a field of type '" + field.type + "' was given where 'tokens' is needed");
  }
  const auto ids = field.tensors.find(kIds);
  if (ids == field.tensors.end()) throw Error(ErrorKind::input, "tokens: the tensor 'ids' is missing");
  Tokens tokens;
  tokens.ids = ids->second;
  tokens.vocabulary = text_entry(field.document, "vocabulary");
  tokens.vocabulary_size = count_entry(field.document, "vocabulary_size");
  tokens.split = text_entry(field.document, "split");
  tokens.domain = text_entry(field.document, "domain");
  tokens.bytes = count_entry(field.document, "bytes");
  tokens.words = count_entry(field.document, "words");
  if (field.document.contains(kLines)) tokens.lines = count_entry(field.document, kLines);
  if (const auto starts = field.tensors.find(kDocuments); starts != field.tensors.end()) {
    if (starts->second.dtype() != DType::i64 || starts->second.shape().size() != 1) {
      throw Error(ErrorKind::input, "tokens: the documents are no row of i64");
    }
    const auto* first = starts->second.as<std::int64_t>();
    tokens.documents.assign(first, first + starts->second.elements());
  }
  check(tokens);
  return tokens;
}

}  // namespace colonnade
