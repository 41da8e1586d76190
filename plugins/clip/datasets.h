// Data sets of examples from pictures with texts.
#pragma once

#include <string>
#include <vector>

#include "colonnade/pictures.h"
#include "colonnade/tensor/examples.h"
#include "tokenizer.h"

namespace colonnade::clip {

struct TextRequest {
  const Tokenizer& tokenizer;
  std::int64_t length;
};

/// An example a text: "pixels" by index, "ids" [texts, L], "groups" [texts]. Throws Error(input) if there are no texts.
Examples caption_pairs(const Pictures& pictures, const TextRequest& request, const std::string& prefix);

/// An example a picture: "pixels", "targets"; shared: "ids" [classes templates, L] and "classes", the class of each.
Examples class_examples(const Pictures& pictures, const TextRequest& request,
                        const std::vector<std::string>& templates);

/// An example a question with an answer: "pixels" by index, "question" (its number among the different ones),
/// "targets"; shared: "ids" [questions answers, L], all answers to the first question first.
Examples question_examples(const Pictures& pictures, const TextRequest& request, const std::string& pattern);

}  // namespace colonnade::clip
