#include "ngram.h"

#include <algorithm>
#include <bit>
#include <string>

#include "colonnade/error.h"

namespace colonnade {

namespace {

constexpr int key_bits = 64;

void count(std::vector<std::pair<std::uint32_t, std::uint32_t>>& counts, std::uint32_t token) {
  const auto place = std::lower_bound(counts.begin(), counts.end(), std::pair{token, std::uint32_t{0}});
  if (place != counts.end() && place->first == token) {
    ++place->second;
    return;
  }
  counts.insert(place, {token, 1});
}

}  // namespace

NgramModel::NgramModel(const Tokens& training, int order)
    : order_(order),
      bits_(std::max(1, static_cast<int>(std::bit_width(static_cast<std::uint64_t>(training.vocabulary_size - 1))))),
      vocabulary_(training.vocabulary_size) {
  if (order * bits_ > key_bits) {
    throw Error(ErrorKind::usage, "ngram: order = " + std::to_string(order) + " is too long for a vocabulary of " +
                                      std::to_string(vocabulary_) + " tokens; allowed: up to " +
                                      std::to_string(key_bits / bits_));
  }
  contexts_.resize(static_cast<std::size_t>(order));
  const std::int64_t length = training.count();
  for (int context_length = 0; context_length < order; ++context_length) {
    auto& contexts = contexts_[static_cast<std::size_t>(context_length)];
    const std::uint64_t mask = context_length == 0 ? 0 : ~std::uint64_t{0} >> (key_bits - context_length * bits_);
    std::uint64_t key = 0;
    for (std::int64_t i = 0; i < length; ++i) {
      const auto token = static_cast<std::uint32_t>(training.id(i));
      if (i >= context_length) {
        Context& context = contexts[key];
        ++context.total;
        count(context.counts, token);
      }
      key = (key << bits_ | token) & mask;
    }
  }
}

std::int64_t NgramModel::parameters() const {
  std::int64_t grams = 0;
  for (const auto& contexts : contexts_) {
    for (const auto& [key, context] : contexts) grams += static_cast<std::int64_t>(context.counts.size());
  }
  return grams;
}

const NgramModel::Context* NgramModel::find(const Tokens& text, std::int64_t position, int length) const {
  std::uint64_t key = 0;
  for (std::int64_t i = position - length; i < position; ++i)
    key = key << bits_ | static_cast<std::uint64_t>(text.id(i));
  const auto& contexts = contexts_[static_cast<std::size_t>(length)];
  const auto found = contexts.find(key);
  return found == contexts.end() ? nullptr : &found->second;
}

void NgramModel::predict(const Tokens& text, std::int64_t position, std::vector<double>& distribution) const {
  distribution.assign(static_cast<std::size_t>(vocabulary_), 1.0 / static_cast<double>(vocabulary_));
  const int longest = static_cast<int>(std::min<std::int64_t>(order_ - 1, position));
  for (int length = 0; length <= longest; ++length) {
    const Context* context = find(text, position, length);
    if (context == nullptr) return;  // then no longer context was seen either
    const auto kinds = static_cast<double>(context->counts.size());
    const double total = static_cast<double>(context->total) + kinds;
    for (double& probability : distribution) probability *= kinds / total;
    for (const auto& [token, times] : context->counts) distribution[token] += static_cast<double>(times) / total;
  }
}

}  // namespace colonnade
