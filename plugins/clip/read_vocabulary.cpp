#include <zlib.h>

#include <filesystem>
#include <memory>

#include "colonnade/error.h"
#include "colonnade/parse_json.h"
#include "vocabulary.h"

namespace colonnade::clip {
namespace {

namespace fs = std::filesystem;

/// Merges that the published model uses of the authors' file: 49,152 less the bytes and the two limits.
constexpr std::size_t kAuthorsMerges = 48894;
constexpr std::size_t kLargestFile = 256U << 20U;

[[noreturn]] void refuse(const std::string& file, const std::string& reason) {
  throw Error(ErrorKind::input, file + ": " + reason);
}

/// The bytes of a file, unpacked where it is packed.
std::string read_text(const std::string& path) {
  const std::unique_ptr<gzFile_s, decltype(&gzclose)> file(gzopen(path.c_str(), "rb"), &gzclose);
  if (!file) refuse(path, "cannot be opened");
  std::string text;
  char buffer[1U << 16U];
  for (;;) {
    const int count = gzread(file.get(), buffer, sizeof buffer);
    if (count < 0) refuse(path, "cannot be read, or is damaged");
    text.append(buffer, static_cast<std::size_t>(count));
    if (text.size() > kLargestFile) refuse(path, "is larger than any vocabulary");
    if (count == 0) return text;
  }
}

Json read_object(const std::string& path) {
  Json document = parse_json(read_text(path), path);
  if (!document.is_object()) refuse(path, "not a JSON object");
  return document;
}

std::vector<std::string> tokens_by_id(const std::string& path, const Json& vocabulary) {
  if (!vocabulary.is_object()) refuse(path, "the vocabulary is not an object");
  std::vector<std::string> tokens(vocabulary.size());
  std::vector<bool> taken(vocabulary.size(), false);
  for (const auto& [token, id] : vocabulary.items()) {
    if (!id.is_number_integer() || id < 0 || id >= vocabulary.size()) {
      refuse(path, "token '" + token + "' has the id " + id.dump() + ", expected one from 0 to " +
                       std::to_string(vocabulary.size() - 1));
    }
    const auto place = id.get<std::size_t>();
    if (taken[place]) refuse(path, "the id " + std::to_string(place) + " is given to several tokens");
    taken[place] = true;
    tokens[place] = token;
  }
  return tokens;
}

Merge merge_of(const std::string& path, const std::string& line, std::size_t number) {
  const auto blank = line.find(' ');
  if (blank == std::string::npos || blank == 0 || blank + 1 == line.size() ||
      line.find(' ', blank + 1) != std::string::npos) {
    refuse(path, "line " + std::to_string(number) + " is '" + line + "', expected two parts with a blank between");
  }
  return {line.substr(0, blank), line.substr(blank + 1)};
}

/// At most `most` merges; a first line that tells a version is passed over.
std::vector<Merge> read_merges(const std::string& path, std::size_t most) {
  const std::string text = read_text(path);
  std::vector<Merge> merges;
  std::size_t begin = 0, number = 0;
  while (begin < text.size() && merges.size() < most) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    if (line.ends_with('\r')) line.pop_back();
    begin = end + 1;
    const bool version = ++number == 1 && line.find("#version") != std::string::npos;
    if (!version && !line.empty()) merges.push_back(merge_of(path, line, number));
  }
  return merges;
}

Vocabulary read_tokenizer_json(const std::string& path) {
  const Json document = read_object(path);
  const Json model = document.value("model", Json::object());
  if (model.value("type", std::string("BPE")) != "BPE" || model.value("end_of_word_suffix", Json()) != kWordEnd) {
    refuse(path, "its model is no byte-pair encoding with the end-of-word suffix '</w>', which CLIP's is");
  }
  Vocabulary vocabulary;
  vocabulary.tokens = tokens_by_id(path, model.value("vocab", Json()));
  std::size_t number = 0;
  for (const Json& merge : model.value("merges", Json::array())) {
    ++number;
    if (merge.is_string()) {
      vocabulary.merges.push_back(merge_of(path, merge.get<std::string>(), number));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      vocabulary.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else {
      refuse(path, "merge " + std::to_string(number) + " is " + merge.dump() + ", expected two parts");
    }
  }
  return vocabulary;
}

Vocabulary read_vocab_json(const std::string& path) {
  const std::string merges = (fs::path(path).parent_path() / "merges.txt").string();
  if (!fs::exists(merges)) refuse(path, "there is no merges.txt beside it");
  return {tokens_by_id(path, read_object(path)), read_merges(merges, std::string::npos)};
}

/// The authors' file has merges alone: bytes, merges and limits in this order are the vocabulary.
Vocabulary read_authors(const std::string& path) {
  Vocabulary vocabulary = byte_vocabulary();
  constexpr std::size_t kLimits = 2;
  vocabulary.tokens.resize(vocabulary.tokens.size() - kLimits);
  vocabulary.merges = read_merges(path, kAuthorsMerges);
  for (const auto& [left, right] : vocabulary.merges) vocabulary.tokens.push_back(left + right);
  vocabulary.tokens.emplace_back(kStartToken);
  vocabulary.tokens.emplace_back(kEndToken);
  return vocabulary;
}

Vocabulary read_file(const std::string& path) {
  const std::string name = fs::path(path).filename().string();
  if (name.ends_with(".txt") || name.ends_with(".txt.gz")) return read_authors(path);
  return read_tokenizer_json(path);
}

}  // namespace

Vocabulary read_vocabulary(const std::string& path) {
  if (!fs::is_directory(path)) {
    // Of a single file only its own bytes stand in a result's key: merges that changed beside it would not count.
    if (fs::path(path).filename() == "vocab.json")
      refuse(path, "needs its merges.txt; give the folder that both lie in");
    return read_file(path);
  }
  const char* const names[] = {"tokenizer.json", "vocab.json", "bpe_simple_vocab_16e6.txt",
                               "bpe_simple_vocab_16e6.txt.gz"};
  for (const char* name : names) {
    const fs::path file = fs::path(path) / name;
    if (fs::exists(file))
      return file.filename() == "vocab.json" ? read_vocab_json(file.string()) : read_file(file.string());
  }
  refuse(path, "the folder has none of tokenizer.json, vocab.json, bpe_simple_vocab_16e6.txt");
}

}  // namespace colonnade::clip
