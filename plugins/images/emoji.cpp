// Emoji with their Unicode names.
#include <sstream>

#include "collect.h"
#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "emoji_font.h"
#include "sets.h"

namespace colonnade::images {
namespace {

struct Emoji {
  std::vector<char32_t> characters;
  std::string name;
};

/// "1F44B 1F3FB ; fully-qualified # (the emoji) E1.0 waving hand: light skin tone"; nothing for other lines.
std::optional<Emoji> parse_line(const std::string& line) {
  const auto semicolon = line.find(';'), hash = line.find('#');
  if (line.starts_with('#') || semicolon == std::string::npos || hash == std::string::npos || hash < semicolon)
    return std::nullopt;
  if (line.substr(semicolon, hash - semicolon).find("fully-qualified") == std::string::npos) return std::nullopt;
  if (line.substr(semicolon, hash - semicolon).find("minimally") != std::string::npos) return std::nullopt;
  if (line.substr(semicolon, hash - semicolon).find("unqualified") != std::string::npos) return std::nullopt;
  Emoji emoji;
  std::istringstream codes(line.substr(0, semicolon));
  std::uint32_t code = 0;
  while (codes >> std::hex >> code) emoji.characters.push_back(code);
  // Behind the sign: the emoji itself, the version that brought it, and its name.
  std::istringstream words(line.substr(hash + 1));
  std::string drawn, version;
  words >> drawn >> version;
  std::getline(words >> std::ws, emoji.name);
  if (emoji.characters.empty() || emoji.name.empty()) return std::nullopt;
  return emoji;
}

bool has_skin_tone(const Emoji& emoji) {
  constexpr char32_t kFirst = 0x1F3FB, kLast = 0x1F3FF;
  for (const char32_t code : emoji.characters) {
    if (code >= kFirst && code <= kLast && emoji.characters.size() > 1) return true;
  }
  return false;
}

Value read_emoji(OpContext& context) {
  const Preprocessing preprocessing = Preprocessing::from_params(context);
  const auto font_path = context.param<std::string>("font"), names_path = context.param<std::string>("names");
  const EmojiFont font(font_path, read_file(font_path));
  std::istringstream names(read_file(names_path));
  Splits splits(preprocessing);
  std::string line;
  std::int64_t position = 0, listed = 0;
  while (std::getline(names, line)) {
    const std::optional<Emoji> emoji = parse_line(line);
    if (!emoji) continue;
    ++listed;
    if (!context.param<bool>("skin_tones") && has_skin_tone(*emoji)) continue;
    Collection& split = splits.by_position(position++);
    const std::string_view png = font.png_of(emoji->characters);
    if (png.empty()) {
      splits.skips.add(emoji->name, "the font has no picture of it");
      continue;
    }
    try {
      split.add_text(emoji->name, split.add(decode(png, preprocessing.background)));
    } catch (const Error& error) {
      splits.skips.add(emoji->name, error.what());
    }
  }
  if (listed == 0) {
    throw Error(ErrorKind::input,
                names_path + ": has no line of a fully-qualified emoji, as Unicode's emoji-test.txt has");
  }
  return splits.finish(context, font_path);
}

}  // namespace

void declare_emoji(Registrar& registrar) {
  constexpr std::int64_t kSize = 32;
  OpDeclaration& op = declare_set(registrar, "emoji");
  op.doc(
        "Reads emoji from a font of colour bitmaps, with their Unicode names as captions.\n"
        "Takes every fully-qualified line of Unicode's emoji-test.txt, in order; of ten neighbours seven are for "
        "training, "
        "one for validation, two for test. What the font has no single picture for is skipped and counted.")
      .example("local emoji = col.emoji { font = col.setting(\"emoji.font\"), names = col.setting(\"emoji.names\") }")
      .param(path("font", "a font with CBDT bitmaps, such as NotoColorEmoji.ttf"))
      .param(path("names", "Unicode's emoji-test.txt"))
      .param(boolean("skin_tones", "take the variants of skin tone too, each with a name of its own").fall_back(true));
  declare_preprocessing(op, kSize, "white");
  op.run(read_emoji);
}

}  // namespace colonnade::images
