#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace colonnade {

// A stretch of bytes of a file. Files are read a little at a time, so that a text may be larger than memory.
struct Piece {
  std::filesystem::path file;
  std::uint64_t begin = 0, end = 0;

  std::uint64_t size() const { return end - begin; }
};

// The name that messages give a file or folder; "folder/" ends in an empty one.
std::string name_of(const std::filesystem::path& path);

// All of a file. Throws Error(input) if it cannot be read.
Piece whole_file(const std::filesystem::path& file);

// The piece's bytes in order, in chunks. Throws Error(input) if they can no longer be read.
void for_each_chunk(const Piece& piece, const std::function<void(std::string_view chunk)>& take);

// Behind the end of the line that holds `position` of the piece, so that cuts never go through a line; at most its
// size.
std::uint64_t line_end(const Piece& piece, std::uint64_t position);

// What the pieces hold, one after the other.
std::string read_whole(const std::vector<Piece>& pieces);

}  // namespace colonnade
