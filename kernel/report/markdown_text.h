#pragma once

#include <string>
#include <vector>

namespace colonnade::host {

// Text of users inside Markdown, so that nothing in it formats, links or ends what surrounds it.

std::string escaped_markdown(const std::string& text);  // on one line
std::string code_span(const std::string& text);         // `text`, with as many backticks as it takes
// "a, b, c", and of more than a sentence can hold "a, b, c, d, e, f and 12 more".
std::string listed(const std::vector<std::string>& texts);
std::string code_block(const std::string& text);  // lines between fences

}  // namespace colonnade::host
