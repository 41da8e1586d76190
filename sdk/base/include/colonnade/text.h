#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "colonnade/json.h"

// Values and foreign text in messages and tables. Nothing here throws, whatever the bytes are.

namespace colonnade {

// Whether the bytes are UTF-8: no torn or overlong sequence, no surrogate, nothing above U+10FFFF.
bool is_utf8(std::string_view text);

// The text if it has at most `most` bytes, else its beginning with "..." in at most so many; cut between characters.
std::string shortened(const std::string& text, std::size_t most);

// A document on one line, whole. Bytes that are no UTF-8, which JSON cannot hold, become U+FFFD.
std::string json_text(const Json& value);

// A value as a user would write it, for messages: as `json_text`, numbers that are not finite as nan and inf, long ones
// shortened.
std::string shown(const Json& value);

}  // namespace colonnade
