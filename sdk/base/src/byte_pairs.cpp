#include "colonnade/byte_pairs.h"

#include <array>
#include <functional>
#include <queue>
#include <tuple>

#include "colonnade/unicode.h"

namespace colonnade {

namespace {

constexpr int kBytes = 256;

std::array<std::string, kBytes> make_byte_texts() {
  std::array<std::string, kBytes> texts;
  char32_t next = kBytes;
  for (int byte = 0; byte < kBytes; ++byte) {
    const bool itself = is_printable_byte(static_cast<std::uint8_t>(byte));
    append_utf8(texts[static_cast<std::size_t>(byte)], itself ? static_cast<char32_t>(byte) : next++);
  }
  return texts;
}

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  constexpr int kHalf = 32;
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << kHalf | static_cast<std::uint32_t>(right);
}

// A word as a list of symbols whose neighbours merge; `next` and `previous` are -1 at the ends.
struct Symbol {
  std::int32_t id;
  int previous, next;
  bool alive = true;
};

}  // namespace

bool is_printable_byte(std::uint8_t byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

const std::string& byte_text(std::uint8_t byte) {
  static const std::array<std::string, kBytes> texts = make_byte_texts();
  return texts[byte];
}

void PairMerges::add(std::int32_t left, std::int32_t right, std::int32_t merged) {
  merges_[pair_key(left, right)] = {next_rank_++, merged};
}

void PairMerges::apply(std::vector<std::int32_t>& ids) const {
  std::vector<Symbol> symbols;
  const int count = static_cast<int>(ids.size());
  for (int i = 0; i < count; ++i) {
    symbols.push_back({ids[static_cast<std::size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1});
  }
  const auto at = [&](int place) -> Symbol& { return symbols[static_cast<std::size_t>(place)]; };
  // Candidates that an earlier merge has changed are passed over.
  using Candidate = std::tuple<std::int32_t, int, std::int32_t, std::int32_t>;  // rank, place, ids of both
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto consider = [&](int left) {
    if (left < 0 || at(left).next < 0) return;
    const std::int32_t a = at(left).id;
    const std::int32_t b = at(at(left).next).id;
    if (const auto found = merges_.find(pair_key(a, b)); found != merges_.end()) {
      queue.emplace(found->second.rank, left, a, b);
    }
  };
  for (int i = 0; i < count; ++i) consider(i);
  while (!queue.empty()) {
    const auto [rank, place, a, b] = queue.top();
    queue.pop();
    Symbol& left = at(place);
    if (!left.alive || left.id != a || left.next < 0 || at(left.next).id != b) continue;
    Symbol& right = at(left.next);
    left.id = merges_.at(pair_key(a, b)).id;
    right.alive = false;
    left.next = right.next;
    if (left.next >= 0) at(left.next).previous = place;
    consider(left.previous);
    consider(place);
  }
  ids.clear();
  for (const Symbol& symbol : symbols) {
    if (symbol.alive) ids.push_back(symbol.id);
  }
}

}  // namespace colonnade
