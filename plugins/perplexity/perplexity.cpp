#include "perplexity.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "colonnade/error.h"

namespace colonnade {

namespace {

// Standard error of a ratio of sums over windows (a mean weighted by tokens), by linearisation.
std::optional<double> ratio_error(const std::vector<double>& means, const std::vector<std::int64_t>& weights,
                                  double overall) {
  const auto count = static_cast<double>(means.size());
  if (means.size() < 2) return std::nullopt;
  double squares = 0, total = 0;
  for (std::size_t i = 0; i < means.size(); ++i) {
    const auto weight = static_cast<double>(weights[i]);
    squares += weight * weight * (means[i] - overall) * (means[i] - overall);
    total += weight;
  }
  return std::sqrt(squares * count / (count - 1)) / total;
}

// Scores `rows` windows that start at `first` and are `length` tokens long (without the token they start from).
void score_windows(const Model& model, const Tokens& tokens, std::int64_t first, std::int64_t rows,
                   std::int64_t length, TextScore& score) {
  std::vector<std::int64_t> starts;
  for (std::int64_t row = 0; row < rows; ++row) starts.push_back(first + row * length);
  const Batch batch = window_batch(tokens, starts, length);
  Tensor logits = model.forward(batch).to(at::kDouble);
  const Tensor& wanted = batch.at("targets");
  Tensor nats = at::logsumexp(logits, -1) - logits.gather(-1, wanted.unsqueeze(-1)).squeeze(-1);
  if (!at::isfinite(nats).all().item<bool>()) {
    throw Error(ErrorKind::input,
                "the model's logits are not finite; its weights hold a NaN or an infinity, or it diverged");
  }
  Tensor hits = (logits.argmax(-1) == wanted).to(at::kDouble);
  Tensor row_nats = nats.sum(-1);
  Tensor row_hits = hits.sum(-1);
  const double* nats_data = row_nats.const_data_ptr<double>();
  const double* hits_data = row_hits.const_data_ptr<double>();
  for (std::int64_t row = 0; row < rows; ++row) {
    score.window_nats.push_back(nats_data[row] / static_cast<double>(length));
    score.window_accuracy.push_back(hits_data[row] / static_cast<double>(length));
    score.window_tokens.push_back(length);
    score.nats += nats_data[row];
    score.accuracy += hits_data[row];
    score.tokens += length;
  }
}

}  // namespace

std::optional<double> TextScore::nats_error() const {
  return ratio_error(window_nats, window_tokens, nats);
}
std::optional<double> TextScore::accuracy_error() const {
  return ratio_error(window_accuracy, window_tokens, accuracy);
}

TextScore score_text(const Model& model, const Tokens& tokens, std::int64_t length, std::int64_t batch,
                     const std::function<void(std::int64_t done, std::int64_t total)>& progress) {
  at::NoGradGuard guard;
  TextScore score;
  const std::int64_t scored = tokens.count() - 1;
  const std::int64_t whole = scored / length;
  for (std::int64_t window = 0; window < whole; window += batch) {
    score_windows(model, tokens, window * length, std::min(batch, whole - window), length, score);
    progress(score.tokens, scored);
  }
  if (scored % length > 0) score_windows(model, tokens, whole * length, 1, scored % length, score);
  progress(scored, scored);
  score.nats /= static_cast<double>(score.tokens);
  score.accuracy /= static_cast<double>(score.tokens);
  return score;
}

}  // namespace colonnade
