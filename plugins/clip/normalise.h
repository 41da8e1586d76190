// How CLIP's texts are cut into words before byte pairs are merged.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace colonnade::clip {

/// Canonical composition, runs of white space as one blank, lower case. `text` must be well-formed.
std::string normalised(std::string_view text);

/// The words of a normalised text: contractions ('s 't 're 've 'm 'll 'd), runs of letters, single numbers, runs of
/// anything else but white space.
std::vector<std::string> words_of(std::string_view text);

}  // namespace colonnade::clip
