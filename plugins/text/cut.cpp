#include "cut.h"

#include <array>
#include <cctype>
#include <cstdio>
#include <memory>

#include "colonnade/blob_writer.h"
#include "colonnade/error.h"

namespace colonnade {

namespace {

bool is_space(char c) {
  return std::isspace(static_cast<unsigned char>(c)) != 0;
}

// Counts over a text that comes in chunks.
class Counter {
 public:
  explicit Counter(Tokens& tokens) : tokens_(tokens) {}
  void take(std::string_view chunk) {
    tokens_.bytes += std::ssize(chunk);
    for (const char c : chunk) {
      const bool letter = !is_space(c);
      tokens_.words += letter && !inside_;
      tokens_.lines += c == '\n';
      inside_ = letter;
    }
  }
  // A word does not go on into the next document.
  void end_document() { inside_ = false; }

 private:
  Tokens& tokens_;
  bool inside_ = false;
};

// Ids whose number is known at the end only: in a file that nobody else sees.
class Spill {
 public:
  Spill() : file_(std::tmpfile(), std::fclose) {
    if (file_ == nullptr) throw Error(ErrorKind::environment, "text: no temporary file can be made");
  }
  void add(const std::vector<std::int32_t>& ids) {
    if (std::fwrite(ids.data(), sizeof(ids[0]), ids.size(), file_.get()) != ids.size()) {
      throw Error(ErrorKind::environment, "text: the temporary file cannot be written; is its disk full?");
    }
    count_ += std::ssize(ids);
  }
  std::int64_t count() const { return count_; }
  Blob finish() {
    BlobWriter writer(DType::i32, {count_});
    std::rewind(file_.get());
    std::array<std::int32_t, 1 << 16> ids;
    for (std::size_t read = 1; read > 0;) {
      read = std::fread(ids.data(), sizeof(ids[0]), ids.size(), file_.get());
      writer.write(ids.data(), read * sizeof(ids[0]));
    }
    return writer.finish();
  }

 private:
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
  std::int64_t count_ = 0;
};

Tokens as_bytes(const std::vector<Piece>& pieces, bool documents) {
  Tokens tokens;
  Counter counter(tokens);
  std::uint64_t size = 0;
  for (const Piece& piece : pieces) size += piece.size();
  BlobWriter writer(DType::u8, {static_cast<std::int64_t>(size)});
  for (const Piece& piece : pieces) {
    if (documents) tokens.documents.push_back(tokens.bytes);
    for_each_chunk(piece, [&](std::string_view chunk) {
      writer.write(chunk.data(), chunk.size());
      counter.take(chunk);
    });
    if (documents) counter.end_document();
  }
  tokens.ids = writer.finish();
  return tokens;
}

Tokens as_pairs(const std::vector<Piece>& pieces, bool documents, const Tokenizer& tokenizer) {
  Tokens tokens;
  tokens.vocabulary = "byte_pairs";
  tokens.vocabulary_size = tokenizer.size();
  Counter counter(tokens);
  Spill ids;
  std::string waiting;  // what follows the last safe cut
  const auto flush = [&] {
    ids.add(tokenizer.encode(waiting));
    waiting.clear();
  };
  for (const Piece& piece : pieces) {
    if (documents) tokens.documents.push_back(ids.count());
    for_each_chunk(piece, [&](std::string_view chunk) {
      counter.take(chunk);
      waiting += chunk;
      const std::size_t cut = last_safe_cut(waiting);
      if (cut == 0) return;
      ids.add(tokenizer.encode(std::string_view(waiting).substr(0, cut)));
      waiting.erase(0, cut);
    });
    if (!documents) continue;
    flush();
    counter.end_document();
  }
  flush();
  tokens.ids = ids.finish();
  return tokens;
}

}  // namespace

std::size_t last_safe_cut(std::string_view text) {
  for (std::size_t at = text.size(); at-- > 1;) {
    const auto before = static_cast<unsigned char>(text[at - 1]);
    if (text[at] == '\n' && before < 0x80 && std::isalnum(before) != 0) return at;
  }
  return 0;
}

Tokens cut_into_tokens(const std::vector<Piece>& pieces, bool documents, const Tokenizer& tokenizer) {
  // A single document says nothing that the text does not.
  const bool several = documents && pieces.size() > 1;
  return tokenizer.is_bytes() ? as_bytes(pieces, several) : as_pairs(pieces, several, tokenizer);
}

}  // namespace colonnade
