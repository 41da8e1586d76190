#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace colonnade::host {

constexpr char32_t not_a_letter = 0xFFFD;  // the replacement character

struct Letter {
  char32_t code = 0;
  std::size_t length = 1;  // bytes
};

// The code point of UTF-8 at `at`. Control characters come as spaces; bytes that are no UTF-8 and code points that XML
// does not allow as the replacement character.
Letter letter_at(std::string_view text, std::size_t at);

// `text` with bytes that are no UTF-8 replaced, all else as it is.
std::string valid_utf8(const std::string& text);

// `text` with letters for which no font is installed replaced by boxes. Letters that the report's own texts use are
// taken to be there.
std::string with_drawable_letters(const std::string& text);

}  // namespace colonnade::host
