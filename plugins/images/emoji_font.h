// Pictures of a font with colour bitmaps (tables CBDT and CBLC of OpenType), as Noto Color Emoji is.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace colonnade::images {

class EmojiFont {
 public:
  /// Reads character map, ligatures and the largest strike. Throws Error(input) naming `path` where a table is missing,
  /// damaged or of a kind that such fonts do not use.
  EmojiFont(std::string path, std::string bytes);

  /// The PNG of what the characters are drawn as, empty if the font has no single picture for them.
  std::string_view png_of(const std::vector<char32_t>& characters) const;

 private:
  struct Ligature {
    std::vector<std::uint16_t> rest;  // after the first glyph
    std::uint16_t result;
  };
  struct Range {
    std::size_t begin, size;  // in the font
  };

  std::string_view table(const char* tag) const;
  void read_characters();
  void read_ligatures();
  void read_ligature_table(std::string_view gsub, std::size_t at);
  void read_strike();
  void read_bitmaps(std::size_t at, std::size_t first_glyph, std::size_t last_glyph);

  std::string path_, bytes_;
  std::map<std::string, Range> tables_;
  std::map<char32_t, std::uint16_t> glyphs_;
  std::map<std::uint16_t, std::vector<Ligature>> ligatures_;
  std::map<std::uint16_t, Range> pictures_;
};

}  // namespace colonnade::images
