// Choosing the next token.
#pragma once

#include <cstdint>
#include <span>

namespace colonnade {

struct Sampling {
  double temperature = 1;  // 0: always the likeliest
  std::int64_t top_k = 0;  // only the so many likeliest; 0: all
  double top_p = 1;        // of these only the fewest that hold this much of the probability (nucleus sampling)
};

// A token of softmax(logits / temperature) restricted by top_k, then top_p, and renormalised, at `uniform` in [0, 1) of
// its cumulated probability, likeliest first. Equal logits are ordered by token. Source: Holtzman et al., The Curious
// Case of Neural Text Degeneration, 2020. Throws Error(input) if a logit is not finite.
std::int64_t choose_token(std::span<const double> logits, const Sampling& sampling, double uniform);

}  // namespace colonnade
