#pragma once

#include <string>
#include <string_view>

#include "colonnade/json.h"

namespace colonnade {

// The canonical encoding: one byte string for one document. Keys and content hashes are SHA-256 of it; traces, messages
// between processes and stored documents are written in it. Little endian; every length and count is 8 bytes.
//
//   'n'                      null
//   't' 'f'                  true, false
//   'i' + 8 bytes            integer in int64
//   'u' + 8 bytes            integer above int64's range
//   'd' + 8 bytes            IEEE double, bits as they are (-0.0 differs from 0.0); every NaN is 0x7ff8000000000000
//   's' + length + bytes     string
//   'b' + length + bytes     binary
//   'a' + count + items      array
//   'o' + count + pairs      object; a pair is length + key bytes, then the item; keys in byte order, each once
//
// Encodings of different documents differ, and no encoding is a prefix of another, so encodings can be concatenated.
std::string encode(const Json& document);
void encode_to(std::string& out, const Json& document);

// Decodes exactly one document; anything else (truncated, trailing bytes, unsorted keys, nesting deeper than 256, a count
// larger than the bytes that are left) throws Error(input). Safe on hostile bytes.
Json decode(std::string_view bytes);

// Decodes one document at the front and removes it from `bytes`.
Json decode_front(std::string_view& bytes);

}  // namespace colonnade
