#include "generate.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <limits>

namespace colonnade {

namespace {

// Prompts behind padding, and which positions are tokens.
Batch padded(const std::vector<TokenIds>& prompts) {
  std::size_t length = 0;
  for (const TokenIds& prompt : prompts) length = std::max(length, prompt.size());
  const auto rows = static_cast<std::int64_t>(prompts.size());
  const auto columns = static_cast<std::int64_t>(length);
  Tensor ids = at::zeros({rows, columns}, at::kLong);
  Tensor mask = at::zeros({rows, columns}, at::kBool);
  auto* id = ids.mutable_data_ptr<std::int64_t>();
  auto* valid = mask.mutable_data_ptr<bool>();
  for (std::size_t row = 0; row < prompts.size(); ++row) {
    const std::size_t first = (row + 1) * length - prompts[row].size();
    std::copy(prompts[row].begin(), prompts[row].end(), id + first);
    std::fill_n(valid + first, prompts[row].size(), true);
  }
  Batch batch;
  batch.tensors["ids"] = ids;
  batch.tensors["mask"] = mask;
  return batch;
}

// How many tokens of each of `rows` sequences are read at once: logits come of every one, and stay below 256 MiB.
std::int64_t tokens_at_once(const Model& model, std::int64_t rows) {
  constexpr std::int64_t kMostLogits = std::int64_t{1} << 26;
  for (const SiteSpec& site : model.sites()) {
    if (std::find(site.roles.begin(), site.roles.end(), "head") == site.roles.end()) continue;
    return std::max<std::int64_t>(1, kMostLogits / site.shape.at(0) / rows);
  }
  return std::numeric_limits<std::int64_t>::max();
}

// Reads the prompts piece by piece; the logits [rows, vocabulary] behind them.
Tensor read_prompts(const Model& model, const Batch& prompts, NamedTensors& state) {
  const std::int64_t length = prompts.at("ids").size(1), step = tokens_at_once(model, prompts.at("ids").size(0));
  Tensor logits;
  for (std::int64_t first = 0; first < length; first += std::min(step, length - first)) {
    Batch piece;
    for (const auto& [name, tensor] : prompts.tensors) {
      piece.tensors[name] = tensor.narrow(1, first, std::min(step, length - first));
    }
    logits = forward_from(model, piece, state).select(1, -1);
  }
  return logits;
}

// Where the first stop begins in what the last `fresh` bytes may have completed.
std::size_t find_stop(const std::string& text, std::size_t fresh, const std::vector<std::string>& stops) {
  std::size_t first = std::string::npos;
  for (const std::string& stop : stops) {
    const std::size_t tail = fresh + stop.size() - 1;
    first = std::min(first, text.find(stop, text.size() > tail ? text.size() - tail : 0));
  }
  return first;
}

// Takes a new token; true if the text ends with it.
bool extend(Continuation& text, std::int64_t token, const Generation& generation) {
  text.tokens.push_back(token);
  const std::string bytes = generation.tokenizer.decode({&token, 1});
  text.text += bytes;
  if (const std::size_t stop = find_stop(text.text, bytes.size(), generation.stops); stop != std::string::npos) {
    text.text.resize(stop);
    text.stopped = true;
    return true;
  }
  return std::ssize(text.tokens) >= generation.max_tokens;
}

}  // namespace

std::vector<Continuation> generate(
    const Model& model, const std::vector<TokenIds>& prompts, const Generation& generation, const RandomStream& random,
    const std::function<void(std::int64_t step, const std::vector<Continuation>&)>& progress) {
  const auto rows = static_cast<std::int64_t>(prompts.size());
  std::vector<Continuation> texts(prompts.size());
  std::vector<bool> done(prompts.size(), false);
  NamedTensors state = initial_state(model, rows);
  Tensor logits = read_prompts(model, padded(prompts), state);
  for (std::int64_t step = 0; step < generation.max_tokens; ++step) {
    const Tensor wide = logits.to(at::kDouble).cpu().contiguous();
    const auto row_size = static_cast<std::size_t>(wide.size(1));
    // Published models pad their vocabulary: what the tokenizer does not have is never drawn.
    const std::size_t vocabulary = generation.tokenizer.is_bytes()
                                       ? row_size
                                       : std::min(row_size, static_cast<std::size_t>(generation.tokenizer.size()));
    Batch next;
    next.tensors["ids"] = at::zeros({rows, 1}, at::kLong);
    auto* const ids = next.tensors["ids"].mutable_data_ptr<std::int64_t>();
    for (std::size_t row = 0; row < texts.size(); ++row) {
      if (done[row]) continue;  // goes along unseen
      const std::span<const double> own(wide.const_data_ptr<double>() + row * row_size, vocabulary);
      ids[row] = choose_token(own, generation.sampling, random.at(row).uniform(static_cast<std::uint64_t>(step)));
      done[row] = extend(texts[row], ids[row], generation);
    }
    progress(step + 1, texts);
    if (std::all_of(done.begin(), done.end(), [](bool each) { return each; })) break;
    logits = forward_from(model, next, state).select(1, -1);
  }
  return texts;
}

}  // namespace colonnade
