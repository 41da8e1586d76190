#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "colonnade/tensor/model.h"
#include "colonnade/tokens.h"

namespace colonnade {

// What a language model makes of a text, window by window.
struct TextScore {
  std::vector<double> window_nats;      // mean over the window's scored tokens
  std::vector<double> window_accuracy;  // share of tokens that were the likeliest
  std::vector<std::int64_t> window_tokens;
  double nats = 0;  // mean over all scored tokens
  double accuracy = 0;
  std::int64_t tokens = 0;

  // Standard errors of the means over tokens, from the spread of the windows (tokens within a window are not
  // independent). One window has no spread.
  std::optional<double> nats_error() const;
  std::optional<double> accuracy_error() const;
};

// Windows of `length` + 1 tokens, one after another, each starting at the last token of the one before: every token but
// the first is scored once, given at most `length` tokens before it in its window. The last window may be shorter.
// Log-probabilities and sums in float64.
TextScore score_text(const Model& model, const Tokens& tokens, std::int64_t length, std::int64_t batch,
                     const std::function<void(std::int64_t done, std::int64_t total)>& progress);

}  // namespace colonnade
