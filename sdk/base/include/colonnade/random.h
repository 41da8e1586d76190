#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace colonnade {

// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011). A
// number is a function of its key and its index, so results do not depend on order, threads or what else was drawn.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

// The stream of numbers of one (seed, op, occurrence, site, step). Cheap to make and to copy; all methods are const.
class RandomStream {
 public:
  RandomStream() = default;
  explicit RandomStream(std::uint64_t key) : key_(key) {}

  // A stream of its own for each name or number: stream.at("in_proj").at(step).
  RandomStream at(std::string_view name) const;
  RandomStream at(std::uint64_t number) const;

  std::uint64_t bits(std::uint64_t index) const;
  double uniform(std::uint64_t index) const;                             // [0, 1), 53 bits
  float uniform_float(std::uint64_t index) const;                        // [0, 1), 24 bits
  double normal(std::uint64_t index) const;                              // mean 0, variance 1 (Box-Muller)
  double logistic(std::uint64_t index) const;                            // log(u) - log(1 - u)
  double gumbel(std::uint64_t index) const;                              // -log(-log(u))
  std::uint64_t below(std::uint64_t index, std::uint64_t bound) const;   // [0, bound), unbiased to 2^-64 * bound
  std::uint64_t key() const { return key_; }

 private:
  std::uint64_t key_ = 0;
};

}  // namespace colonnade
