#include "byte_pair_vocabulary.h"

#include <algorithm>

#include "colonnade/error.h"
#include "colonnade/json.h"
#include "colonnade/unicode.h"

namespace colonnade {

namespace {

constexpr std::int32_t kLargestId = 1 << 24;  // far above any vocabulary

class Reader {
 public:
  Reader(std::string_view json, const std::string& where) : where_(where) {
    constexpr int kDeepest = 32;
    const auto check = [&](int depth, Json::parse_event_t, Json&) {
      if (depth > kDeepest) refuse("is nested more than " + std::to_string(kDeepest) + " deep");
      return true;
    };
    document_ = Json::parse(json.begin(), json.end(), check, false);
    if (!document_.is_object()) refuse("is not a JSON object");
  }

  BytePairVocabulary read() {
    const Json& model = member(document_, "model", "");
    expect(model, "type", "BPE", "model.");
    read_options(model);
    read_tokens(member(model, "vocab", "model."), model.value("unk_token", Json()));
    read_merges(member(model, "merges", "model."));
    if (document_.contains("added_tokens")) read_added(document_.at("added_tokens"));
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& reason) const { throw Error(ErrorKind::input, where_ + ": " + reason); }

  const Json& member(const Json& object, const std::string& key, const std::string& prefix) const {
    if (!object.is_object() || !object.contains(key)) refuse("has no '" + prefix + key + "'");
    return object.at(key);
  }

  void expect(const Json& object, const std::string& key, const Json& wanted, const std::string& prefix) const {
    if (!object.is_object()) refuse("'" + prefix + "' is no object");
    const Json found = object.value(key, Json());
    if (found.is_null() || found == wanted) return;
    refuse("'" + prefix + key + "' is " + found.dump() + "; only " + wanted.dump() + " is known");
  }

  bool flag(const Json& object, const std::string& key, bool fallback) const {
    const Json found = object.value(key, Json());
    if (found.is_null()) return fallback;
    if (!found.is_boolean()) refuse("'" + key + "' is " + found.dump() + ", expected true or false");
    return found.get<bool>();
  }

  void read_options(const Json& model) {
    for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"}) {
      const Json found = model.value(key, Json());
      if (found.is_null() || found == "" || found == false || found == 0.0) continue;
      refuse(std::string("'model.") + key + "' is " + found.dump() + ", which byte-level vocabularies do not have");
    }
    out_.whole_words = flag(model, "ignore_merges", false);
    const Json normalizer = document_.value("normalizer", Json());
    if (!normalizer.is_null()) {
      expect(normalizer, "type", "NFC", "normalizer.");
      out_.compose = true;
    }
    const Json& words = member(document_, "pre_tokenizer", "");
    expect(words, "type", "ByteLevel", "pre_tokenizer.");
    expect(words, "use_regex", true, "pre_tokenizer.");
    out_.blank_first = flag(words, "add_prefix_space", true);
  }

  std::int32_t checked_id(const Json& id, const std::string& token) const {
    if (!id.is_number_integer() || id < 0 || id > kLargestId) {
      refuse("token '" + token + "' has the id " + id.dump() + ", expected one from 0 to " +
             std::to_string(kLargestId));
    }
    return id.get<std::int32_t>();
  }

  void define(std::int32_t id, const std::string& token, std::string bytes) {
    if (std::ssize(out_.bytes) <= id) out_.bytes.resize(static_cast<std::size_t>(id) + 1);
    auto& place = out_.bytes[static_cast<std::size_t>(id)];
    if (place.has_value() && *place != bytes) {
      refuse("the id " + std::to_string(id) + " of token '" + token + "' is another's");
    }
    place = std::move(bytes);
    out_.size = std::ssize(out_.bytes);
  }

  static bool in_utf8(std::size_t byte) { return byte < 0xC0 || (byte > 0xC1 && byte < 0xF5); }

  void read_tokens(const Json& vocabulary, const Json& unknown) {
    if (!vocabulary.is_object()) refuse("'model.vocab' is no object");
    std::unordered_map<std::string, char> bytes;
    for (int byte = 0; byte < 256; ++byte) {
      bytes[byte_text(static_cast<std::uint8_t>(byte))] = static_cast<char>(byte);
    }
    for (const auto& [token, id] : vocabulary.items()) {
      const std::int32_t checked = checked_id(id, token);
      std::string meant;
      bool all_bytes = true;
      for (const char32_t code : code_points(token)) {
        std::string character;
        append_utf8(character, code);
        const auto found = bytes.find(character);
        all_bytes = all_bytes && found != bytes.end();
        if (all_bytes) meant += found->second;
      }
      out_.ids.emplace(token, checked);
      define(checked, token, all_bytes ? meant : token);
    }
    for (std::size_t byte = 0; byte < out_.byte_ids.size(); ++byte) {
      const auto found = out_.ids.find(byte_text(static_cast<std::uint8_t>(byte)));
      out_.byte_ids[byte] = found == out_.ids.end() ? -1 : found->second;
      if (found != out_.ids.end() || unknown.is_null() || !in_utf8(byte)) continue;
      refuse("'model.vocab' has no token of byte " + std::to_string(byte) + ", and 'model.unk_token' is " +
             unknown.dump() + "; only null is known where bytes are missing");
    }
  }

  std::int32_t known(const std::string& token, const std::string& what) const {
    const auto found = out_.ids.find(token);
    if (found == out_.ids.end()) refuse("'" + token + "', " + what + ", is not in 'model.vocab'");
    return found->second;
  }

  void read_merges(const Json& merges) {
    if (!merges.is_array()) refuse("'model.merges' is no list");
    std::size_t rank = 0;
    for (const Json& merge : merges) {
      ++rank;
      const std::string which = "of merge " + std::to_string(rank);
      std::string left, right;
      if (merge.is_string()) {
        const auto text = merge.get<std::string>();
        const std::size_t blank = text.find(' ');
        if (blank == std::string::npos)
          refuse("merge " + std::to_string(rank) + " is " + merge.dump() + ", expected two tokens");
        left = text.substr(0, blank);
        right = text.substr(blank + 1);
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        left = merge[0].get<std::string>();
        right = merge[1].get<std::string>();
      } else {
        refuse("merge " + std::to_string(rank) + " is " + merge.dump() + ", expected two tokens");
      }
      const std::int32_t first = known(left, "the left part " + which);
      const std::int32_t second = known(right, "the right part " + which);
      out_.merges.add(first, second, known(left + right, "the result " + which));
    }
  }

  void read_added(const Json& added) {
    if (!added.is_array()) refuse("'added_tokens' is no list");
    for (const Json& each : added) {
      const Json& content = member(each, "content", "added_tokens.");
      if (!content.is_string() || content.get<std::string>().empty()) {
        refuse("an added token's content is " + content.dump() + ", expected a text");
      }
      const auto text = content.get<std::string>();
      for (const char* key : {"lstrip", "rstrip", "single_word"}) {
        if (flag(each, key, false)) refuse("the added token '" + text + "' has '" + key + "', which is not known here");
      }
      const std::int32_t id = checked_id(member(each, "id", "added_tokens."), text);
      define_added(id, text);
      const bool normalised = flag(each, "normalized", true);
      (normalised ? out_.added_normalised : out_.added).add({normalised && out_.compose ? composed(text) : text, id});
    }
  }

  // An added token may stand in the vocabulary as well.
  void define_added(std::int32_t id, const std::string& text) {
    if (const auto found = out_.ids.find(text); found != out_.ids.end() && found->second != id) {
      refuse("the added token '" + text + "' has the id " + std::to_string(id) + ", in 'model.vocab' " +
             std::to_string(found->second));
    }
    if (out_.ids.contains(text)) return;
    define(id, text, text);
  }

  std::string where_;
  Json document_;
  BytePairVocabulary out_;
};

}  // namespace

void AddedTokens::add(AddedToken token) {
  auto& list = by_first_byte_[static_cast<std::uint8_t>(token.text[0])];
  const auto shorter = [&](const AddedToken& other) { return other.text.size() < token.text.size(); };
  list.insert(std::find_if(list.begin(), list.end(), shorter), std::move(token));
}

const AddedToken* AddedTokens::at(std::string_view text) const {
  for (const AddedToken& token : by_first_byte_[static_cast<std::uint8_t>(text[0])]) {
    if (text.starts_with(token.text)) return &token;
  }
  return nullptr;
}

BytePairVocabulary read_byte_pair_vocabulary(std::string_view json, const std::string& where) {
  return Reader(json, where).read();
}

}  // namespace colonnade
