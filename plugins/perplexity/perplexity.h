#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "colonnade/tensor/model.h"
#include "colonnade/tokens.h"

namespace colonnade {

// One measure of a text: its sums over the scored tokens of each window.
struct WindowSums {
  std::vector<double> sums;
  std::vector<std::int64_t> tokens;  // scored of each window

  double total() const;
  std::int64_t scored() const;
  double mean() const { return total() / static_cast<double>(scored()); }
  // Standard error of the mean over tokens, from the spread of the windows (tokens within a window are not
  // independent). One window has none.
  std::optional<double> error() const;
  // Each window's sum over the mean number of tokens of a window, so that the mean of these is the mean over tokens
  // although windows differ in length.
  std::vector<double> per_window() const;
};

// What a language model makes of a text.
struct TextScore {
  WindowSums nats;  // -log p
  WindowSums hits;  // tokens that were the likeliest
};

struct Windows {
  std::int64_t length = 0;  // tokens that the model reads at once
  std::int64_t stride = 0;  // from one window's start to the next, at most `length`
  std::int64_t batch = 1;   // windows computed at once, fewer where their logits would take more than 1 GiB
};

// Windows of `length` tokens and the one behind each, a window every `stride` tokens. Every token but the text's first
// is scored once, in the first window that reaches it: all of the first window, the last `stride` of each later one,
// given at least length - stride tokens before. The last window ends with the text and may be shorter. Where the text
// is made of documents, all of this holds for each of them. Log-probabilities and sums in float64.
TextScore score_text(const Model& model, const Tokens& tokens, const Windows& windows,
                     const std::function<void(std::int64_t done, std::int64_t total)>& progress);

}  // namespace colonnade
