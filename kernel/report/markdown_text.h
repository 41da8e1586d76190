#pragma once

#include <string>

namespace colonnade::host {

// Text of users inside Markdown, so that nothing in it formats, links or ends what surrounds it.

std::string escaped_markdown(const std::string& text);  // on one line
std::string code_span(const std::string& text);         // `text`, with as many backticks as it takes
std::string code_block(const std::string& text);        // lines between fences

}  // namespace colonnade::host
