#include "emoji_font.h"

#include <algorithm>
#include <optional>

#include "colonnade/error.h"

namespace colonnade::images {
namespace {

constexpr char32_t kEmojiStyle = 0xFE0F;  // a selector that fonts of emoji have no glyph for

/// Big-endian numbers; every read is checked.
class Numbers {
 public:
  Numbers(const std::string& path, std::string_view bytes) : path_(path), bytes_(bytes) {}

  std::uint32_t at(std::size_t place, int count) const {
    if (place > bytes_.size() || bytes_.size() - place < static_cast<std::size_t>(count)) {
      throw Error(ErrorKind::input, path_ + ": the font is damaged: a table ends before its contents");
    }
    constexpr int kByte = 8;
    std::uint32_t value = 0;
    for (int i = 0; i < count; ++i)
      value = value << kByte | static_cast<std::uint8_t>(bytes_[place + static_cast<size_t>(i)]);
    return value;
  }
  std::uint16_t u16(std::size_t place) const { return static_cast<std::uint16_t>(at(place, 2)); }
  std::uint32_t u32(std::size_t place) const { return at(place, 4); }

 private:
  const std::string& path_;
  std::string_view bytes_;
};

/// The glyphs of a coverage table, in order.
std::vector<std::uint16_t> coverage(const Numbers& in, std::size_t at) {
  std::vector<std::uint16_t> glyphs;
  const std::uint16_t format = in.u16(at), count = in.u16(at + 2);
  constexpr std::size_t kHeader = 4, kRange = 6;
  for (std::size_t i = 0; i < count; ++i) {
    if (format == 1) {
      glyphs.push_back(in.u16(at + kHeader + 2 * i));
      continue;
    }
    const std::size_t range = at + kHeader + kRange * i;
    for (std::uint32_t glyph = in.u16(range); glyph <= in.u16(range + 2); ++glyph) {
      glyphs.push_back(static_cast<std::uint16_t>(glyph));
    }
  }
  return glyphs;
}

}  // namespace

EmojiFont::EmojiFont(std::string path, std::string bytes) : path_(std::move(path)), bytes_(std::move(bytes)) {
  const Numbers in(path_, bytes_);
  constexpr std::size_t kHeader = 12, kRecord = 16;
  const std::size_t count = in.u16(4);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t record = kHeader + kRecord * i;
    const Range range{in.u32(record + 8), in.u32(record + 12)};
    if (range.begin > bytes_.size() || range.size > bytes_.size() - range.begin) {
      throw Error(ErrorKind::input, path_ + ": the font is damaged: table " + std::to_string(i + 1) + " of " +
                                        std::to_string(count) + " lies outside");
    }
    tables_[bytes_.substr(record, 4)] = range;
  }
  read_characters();
  if (tables_.contains("GSUB")) read_ligatures();
  read_strike();
}

std::string_view EmojiFont::table(const char* tag) const {
  const auto found = tables_.find(tag);
  if (found == tables_.end()) {
    throw Error(ErrorKind::input, path_ + ": the font has no table '" + tag + "', which fonts of colour bitmaps have");
  }
  return std::string_view(bytes_).substr(found->second.begin, found->second.size);
}

void EmojiFont::read_characters() {
  const Numbers in(path_, table("cmap"));
  constexpr std::uint16_t kGroupsFormat = 12;
  constexpr std::size_t kHeader = 4, kRecord = 8, kGroups = 16, kGroup = 12;
  const std::size_t count = in.u16(2);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = in.u32(kHeader + kRecord * i + 4);
    if (in.u16(at) != kGroupsFormat) continue;
    const std::size_t groups = in.u32(at + 12);
    for (std::size_t group = 0; group < groups; ++group) {
      const std::size_t place = at + kGroups + kGroup * group;
      const std::uint32_t first = in.u32(place), last = in.u32(place + 4), glyph = in.u32(place + 8);
      constexpr std::uint32_t kLastCharacter = 0x10FFFF;
      if (last > kLastCharacter)
        throw Error(ErrorKind::input, path_ + ": the font is damaged: a character beyond Unicode");
      for (std::uint32_t code = first; code <= last; ++code)
        glyphs_[code] = static_cast<std::uint16_t>(glyph + code - first);
    }
  }
  if (glyphs_.empty()) throw Error(ErrorKind::input, path_ + ": the font's character map has no part of format 12");
}

void EmojiFont::read_ligatures() {
  const std::string_view gsub = table("GSUB");
  const Numbers in(path_, gsub);
  constexpr std::size_t kLookupList = 8, kSubtables = 6;
  constexpr std::uint16_t kLigature = 4, kExtension = 7;
  const std::size_t lookups = in.u16(kLookupList);
  const std::size_t count = in.u16(lookups);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t lookup = lookups + in.u16(lookups + 2 + 2 * i);
    const std::uint16_t type = in.u16(lookup);
    const std::size_t subtables = in.u16(lookup + 4);
    for (std::size_t s = 0; s < subtables; ++s) {
      const std::size_t at = lookup + in.u16(lookup + kSubtables + 2 * s);
      if (type == kLigature) read_ligature_table(gsub, at);
      if (type == kExtension && in.u16(at + 2) == kLigature) read_ligature_table(gsub, at + in.u32(at + 4));
    }
  }
  for (auto& [first, all] : ligatures_) {
    std::stable_sort(all.begin(), all.end(),
                     [](const auto& a, const auto& b) { return a.rest.size() > b.rest.size(); });
  }
}

void EmojiFont::read_ligature_table(std::string_view gsub, std::size_t at) {
  const Numbers in(path_, gsub);
  constexpr std::size_t kSets = 6;
  const std::vector<std::uint16_t> firsts = coverage(in, at + in.u16(at + 2));
  const std::size_t sets = std::min<std::size_t>(in.u16(at + 4), firsts.size());
  for (std::size_t i = 0; i < sets; ++i) {
    const std::size_t set = at + in.u16(at + kSets + 2 * i);
    const std::size_t count = in.u16(set);
    for (std::size_t l = 0; l < count; ++l) {
      const std::size_t ligature = set + in.u16(set + 2 + 2 * l);
      Ligature entry{{}, in.u16(ligature)};
      const std::size_t parts = in.u16(ligature + 2);
      for (std::size_t part = 1; part < parts; ++part) entry.rest.push_back(in.u16(ligature + 2 + 2 * part));
      ligatures_[firsts[i]].push_back(std::move(entry));
    }
  }
}

void EmojiFont::read_strike() {
  const Numbers in(path_, table("CBLC"));
  constexpr std::size_t kHeader = 8, kStrike = 48, kHeight = 45, kRecord = 8;
  const std::size_t strikes = in.u32(4);
  std::size_t best = 0;
  std::uint32_t height = 0;
  for (std::size_t i = 0; i < strikes; ++i) {
    const std::size_t strike = kHeader + kStrike * i;
    if (in.at(strike + kHeight, 1) <= height) continue;
    height = in.at(strike + kHeight, 1);
    best = strike;
  }
  if (best == 0) throw Error(ErrorKind::input, path_ + ": the font has no bitmaps");
  const std::size_t array = in.u32(best);
  const std::size_t count = in.u32(best + 8);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t record = array + kRecord * i;
    read_bitmaps(array + in.u32(record + 4), in.u16(record), in.u16(record + 2));
  }
}

void EmojiFont::read_bitmaps(std::size_t at, std::size_t first_glyph, std::size_t last_glyph) {
  const Numbers index(path_, table("CBLC")), data(path_, table("CBDT"));
  const std::size_t table_begin = tables_.at("CBDT").begin;
  const std::uint16_t format = index.u16(at), image = index.u16(at + 2);
  const std::size_t images = index.u32(at + 4);
  constexpr std::size_t kOffsets = 8;
  constexpr std::uint16_t kWide = 1, kNarrow = 3, kSmall = 17, kBig = 18, kBare = 19;
  if (format != kWide && format != kNarrow) return;
  const std::size_t metrics = image == kSmall ? 5 : image == kBig ? 8 : 0;
  if (image != kSmall && image != kBig && image != kBare) return;
  for (std::size_t glyph = first_glyph; glyph <= last_glyph; ++glyph) {
    const std::size_t number = glyph - first_glyph;
    const auto offset = [&](std::size_t n) -> std::size_t {
      return format == kWide ? index.u32(at + kOffsets + 4 * n) : index.u16(at + kOffsets + 2 * n);
    };
    if (offset(number + 1) <= offset(number)) continue;  // no picture for this glyph
    const std::size_t place = images + offset(number) + metrics;
    const std::size_t size = data.u32(place);
    if (size > table("CBDT").size() - place - 4)
      throw Error(ErrorKind::input, path_ + ": the font is damaged: a picture lies outside");
    pictures_[static_cast<std::uint16_t>(glyph)] = {table_begin + place + 4, size};
  }
}

std::string_view EmojiFont::png_of(const std::vector<char32_t>& characters) const {
  std::vector<std::uint16_t> glyphs;
  for (const char32_t code : characters) {
    const auto found = glyphs_.find(code);
    if (code == kEmojiStyle && (found == glyphs_.end() || characters.size() > 1)) continue;
    if (found == glyphs_.end()) return {};
    glyphs.push_back(found->second);
  }
  if (glyphs.empty()) return {};
  std::uint16_t glyph = glyphs.front();
  if (glyphs.size() > 1) {
    const auto found = ligatures_.find(glyph);
    if (found == ligatures_.end()) return {};
    const std::vector<std::uint16_t> rest(glyphs.begin() + 1, glyphs.end());
    const auto whole = std::find_if(found->second.begin(), found->second.end(),
                                    [&](const Ligature& each) { return each.rest == rest; });
    if (whole == found->second.end()) return {};
    glyph = whole->result;
  }
  const auto picture = pictures_.find(glyph);
  if (picture == pictures_.end()) return {};
  return std::string_view(bytes_).substr(picture->second.begin, picture->second.size);
}

}  // namespace colonnade::images
