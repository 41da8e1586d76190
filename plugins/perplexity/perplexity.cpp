#include "perplexity.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <numeric>

#include "colonnade/error.h"

namespace colonnade {

namespace {

// Neighbouring windows that look alike: `length` tokens each, the last `scored` of which count.
struct WindowGroup {
  std::vector<std::int64_t> starts;
  std::int64_t length = 0;
  std::int64_t scored = 0;
};

// The windows of the tokens from `first` on, `count` of them behind its first, in order.
void add_windows(std::int64_t first, std::int64_t count, const Windows& windows, std::vector<WindowGroup>& groups) {
  std::int64_t done = 0;
  for (std::int64_t start = 0; done < count; start += windows.stride) {
    const std::int64_t end = std::min(start + windows.length, count);
    const std::int64_t length = end - start, scored = end - done;
    const bool alike = !groups.empty() && groups.back().length == length && groups.back().scored == scored &&
                       std::ssize(groups.back().starts) < windows.batch;
    if (!alike) groups.push_back({{}, length, scored});
    groups.back().starts.push_back(first + start);
    done = end;
  }
}

std::vector<WindowGroup> group_windows(const Tokens& tokens, const Windows& windows) {
  std::vector<WindowGroup> groups;
  if (tokens.documents.empty()) add_windows(0, tokens.count() - 1, windows, groups);
  for (std::size_t i = 0; i < tokens.documents.size(); ++i) {
    const std::int64_t end = i + 1 < tokens.documents.size() ? tokens.documents[i + 1] : tokens.count();
    add_windows(tokens.documents[i], end - tokens.documents[i] - 1, windows, groups);
  }
  return groups;
}

void score_group(const Model& model, const Tokens& tokens, const WindowGroup& group, TextScore& score) {
  const Batch batch = window_batch(tokens, group.starts, group.length);
  const std::int64_t context = group.length - group.scored;
  Tensor logits = model.forward(batch).narrow(1, context, group.scored).to(at::kDouble);
  const Tensor wanted = batch.at("targets").narrow(1, context, group.scored).to(logits.device());
  Tensor nats = at::logsumexp(logits, -1) - logits.gather(-1, wanted.unsqueeze(-1)).squeeze(-1);
  if (!at::isfinite(nats).all().item<bool>()) {
    throw Error(ErrorKind::input,
                "the model's logits are not finite; its weights hold a NaN or an infinity, or it diverged");
  }
  Tensor hits = (logits.argmax(-1) == wanted).to(at::kDouble);
  Tensor row_nats = nats.sum(-1).cpu();
  Tensor row_hits = hits.sum(-1).cpu();
  for (std::size_t row = 0; row < group.starts.size(); ++row) {
    score.nats.sums.push_back(row_nats.const_data_ptr<double>()[row]);
    score.hits.sums.push_back(row_hits.const_data_ptr<double>()[row]);
    score.nats.tokens.push_back(group.scored);
    score.hits.tokens.push_back(group.scored);
  }
}

}  // namespace

double WindowSums::total() const {
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

std::int64_t WindowSums::scored() const {
  return std::accumulate(tokens.begin(), tokens.end(), std::int64_t{0});
}

std::optional<double> WindowSums::error() const {
  if (sums.size() < 2) return std::nullopt;
  const double overall = mean();
  const auto count = static_cast<double>(sums.size());
  double squares = 0;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const double deviation = sums[i] - overall * static_cast<double>(tokens[i]);
    squares += deviation * deviation;
  }
  return std::sqrt(squares * count / (count - 1)) / static_cast<double>(scored());
}

std::vector<double> WindowSums::per_window() const {
  const double mean_tokens = static_cast<double>(scored()) / static_cast<double>(sums.size());
  std::vector<double> out;
  for (const double sum : sums) out.push_back(sum / mean_tokens);
  return out;
}

TextScore score_text(const Model& model, const Tokens& tokens, const Windows& windows,
                     const std::function<void(std::int64_t done, std::int64_t total)>& progress) {
  at::NoGradGuard guard;
  TextScore score;
  const std::vector<WindowGroup> groups = group_windows(tokens, windows);
  std::int64_t count = 0, done = 0;
  for (const WindowGroup& group : groups) count += group.scored * std::ssize(group.starts);
  for (const WindowGroup& group : groups) {
    score_group(model, tokens, group, score);
    done += group.scored * std::ssize(group.starts);
    progress(done, count);
  }
  return score;
}

}  // namespace colonnade
