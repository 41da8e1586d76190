// Continuing texts with a language model that keeps a state.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "colonnade/random.h"
#include "colonnade/tensor/recurrent.h"
#include "colonnade/tokenizer.h"
#include "sampling.h"

namespace colonnade {

using TokenIds = std::vector<std::int64_t>;

struct Generation {
  Sampling sampling;
  std::int64_t max_tokens = 64;
  std::vector<std::string> stops;  // a text ends where the first of these begins, whatever its tokens are
  Tokenizer tokenizer;
};

struct Continuation {
  TokenIds tokens;       // all that were drawn
  std::string text;      // their bytes, without the stop
  bool stopped = false;  // by a stop, not by max_tokens
};

// Continues every prompt (none empty), all at once: prompts are padded on the left, the model reads them, then one
// token each at a time. Prompt i draws token t's number from random.at(i), so that a text does not depend on its
// neighbours. `progress` is called after every step, with the texts so far.
std::vector<Continuation> generate(
    const Model& model, const std::vector<TokenIds>& prompts, const Generation& generation, const RandomStream& random,
    const std::function<void(std::int64_t step, const std::vector<Continuation>&)>& progress);

}  // namespace colonnade
