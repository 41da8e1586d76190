#pragma once

#include <vector>

#include "colonnade/tokenizer.h"
#include "colonnade/tokens.h"
#include "text_file.h"

namespace colonnade {

// The pieces as tokens, with bytes, words and line ends counted; as one text, or each piece as a document of its own.
// Reads and writes a little at a time: what memory it takes does not grow with the text.
Tokens cut_into_tokens(const std::vector<Piece>& pieces, bool documents, const Tokenizer& tokenizer);

// The last place in a text where it may be cut before tokenizing without changing any token: in front of the white
// space behind a letter or a digit, at which every byte-pair tokenizer begins a new word. 0 where there is none.
std::size_t last_safe_cut(std::string_view text);

}  // namespace colonnade
