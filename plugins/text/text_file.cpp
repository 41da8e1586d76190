#include "text_file.h"

#include <algorithm>
#include <fstream>
#include <system_error>

#include "colonnade/error.h"

namespace colonnade {

namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t chunk_bytes = std::uint64_t{1} << 20;

[[noreturn]] void refuse(const fs::path& file, const std::string& why = "") {
  throw Error(ErrorKind::input, "text: '" + name_of(file) + "' cannot be read" + (why.empty() ? "" : ": " + why));
}

// Chunks until `take` says that it has enough.
void read_chunks(const Piece& piece, std::uint64_t from, const std::function<bool(std::string_view)>& take) {
  if (from >= piece.size()) return;
  std::ifstream in(piece.file, std::ios::binary);
  in.seekg(static_cast<std::streamoff>(piece.begin + from));
  std::string chunk;
  for (std::uint64_t left = piece.size() - from; left > 0; left -= chunk.size()) {
    chunk.resize(std::min(left, chunk_bytes));
    if (!in.read(chunk.data(), static_cast<std::streamsize>(chunk.size()))) refuse(piece.file);
    if (!take(chunk)) return;
  }
}

}  // namespace

std::string name_of(const fs::path& path) {
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

Piece whole_file(const fs::path& file) {
  std::error_code failure;
  const auto size = fs::file_size(file, failure);
  if (failure) refuse(file, failure.message());
  if (!std::ifstream(file, std::ios::binary).is_open()) refuse(file);
  return {file, 0, size};
}

void for_each_chunk(const Piece& piece, const std::function<void(std::string_view)>& take) {
  read_chunks(piece, 0, [&](std::string_view chunk) { return take(chunk), true; });
}

std::uint64_t line_end(const Piece& piece, std::uint64_t position) {
  if (position == 0 || position >= piece.size()) return std::min(position, piece.size());
  std::uint64_t end = position - 1;
  bool found = false;
  read_chunks(piece, position - 1, [&](std::string_view chunk) {
    const auto newline = chunk.find('\n');
    found = newline != std::string_view::npos;
    end += found ? newline + 1 : chunk.size();
    return !found;
  });
  return end;
}

std::string read_whole(const std::vector<Piece>& pieces) {
  std::string text;
  for (const Piece& piece : pieces) for_each_chunk(piece, [&](std::string_view chunk) { text += chunk; });
  return text;
}

}  // namespace colonnade
