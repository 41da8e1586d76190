#include "perplexity.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
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

// Of a group's scored tokens, [windows, scored] in float64.
struct TokenScores {
  Tensor nats, hits;
};

// Logits are widened a few positions at a time: all at once they would take several times the memory of the model's
// own.
TokenScores score_tokens(const Tensor& logits, const Tensor& wanted) {
  constexpr std::int64_t kWidenedAtOnce = std::int64_t{1} << 21;
  const auto options = logits.options().dtype(at::kDouble);
  TokenScores out{at::empty(wanted.sizes(), options), at::empty(wanted.sizes(), options)};
  const std::int64_t count = wanted.size(1);
  const std::int64_t step = std::max<std::int64_t>(1, kWidenedAtOnce / logits.size(-1) / wanted.size(0));
  for (std::int64_t first = 0; first < count; first += step) {
    const auto slice = [&](const Tensor& of) { return of.narrow(1, first, std::min(step, count - first)); };
    const Tensor wide = slice(logits).to(at::kDouble), classes = slice(wanted);
    slice(out.nats).copy_(at::logsumexp(wide, -1) - wide.gather(-1, classes.unsqueeze(-1)).squeeze(-1));
    slice(out.hits).copy_(wide.argmax(-1) == classes);
  }
  return out;
}

void score_group(const Model& model, const Tokens& tokens, const WindowGroup& group, TextScore& score) {
  const Batch batch = window_batch(tokens, group.starts, group.length);
  const std::int64_t context = group.length - group.scored;
  const Tensor logits = model.forward(batch).narrow(1, context, group.scored);
  const auto [nats, hits] =
      score_tokens(logits, batch.at("targets").narrow(1, context, group.scored).to(logits.device()));
  if (!at::isfinite(nats).all().item<bool>()) {
    throw Error(ErrorKind::input,
                "the model's logits are not finite; its weights hold a NaN or an infinity, or it diverged");
  }
  const Tensor row_nats = nats.sum(-1).cpu();
  const Tensor row_hits = hits.sum(-1).cpu();
  for (std::size_t row = 0; row < group.starts.size(); ++row) {
    score.nats.sums.push_back(row_nats.const_data_ptr<double>()[row]);
    score.hits.sums.push_back(row_hits.const_data_ptr<double>()[row]);
    score.nats.tokens.push_back(group.scored);
    score.hits.tokens.push_back(group.scored);
  }
}

// Windows at once, so few that their logits stay below a gigabyte in float32.
std::int64_t fitting_batch(const Model& model, const Windows& windows) {
  constexpr std::int64_t kMostLogits = std::int64_t{1} << 28;
  for (const SiteSpec& site : model.sites()) {
    if (std::find(site.roles.begin(), site.roles.end(), "head") == site.roles.end()) continue;
    return std::clamp<std::int64_t>(kMostLogits / site.shape.at(0) / windows.length, 1, windows.batch);
  }
  return windows.batch;
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
  const std::vector<WindowGroup> groups =
      group_windows(tokens, {windows.length, windows.stride, fitting_batch(model, windows)});
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
