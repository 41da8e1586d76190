#pragma once

#include <string>
#include <string_view>
#include <vector>

// Characters as tokenizers see them. What is a letter, a number or white space is what the reference tokenizers take for one.

namespace colonnade {

enum class CharacterKind { letter, number, space, other };

CharacterKind kind_of(char32_t code);

// Appends the character as UTF-8.
void append_utf8(std::string& text, char32_t code);

// Throws Error(input) naming the first byte that is not well-formed.
std::vector<char32_t> code_points(std::string_view text);

// The text with every byte that is not part of well-formed UTF-8 replaced by U+FFFD, as many as decoders usually put.
std::string well_formed(std::string_view text);

// Canonical composition (NFC) of a well-formed text.
std::string composed(std::string_view text);

}  // namespace colonnade
