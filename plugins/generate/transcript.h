// Telling of texts while they grow.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace colonnade {

// Cuts texts that grow side by side into lines of at most 72 bytes, at blanks where there are any and never within a
// character, and hands on each as soon as it is whole. What a stop may still take back waits.
class Transcript {
 public:
  using Say = std::function<void(std::size_t text, const std::string& line)>;

  // `held` bytes at a text's end may still be taken back.
  Transcript(std::size_t texts, std::size_t held, Say say) : told_(texts, 0), held_(held), say_(std::move(say)) {}

  // The text so far; `ended`: it will not grow.
  void tell(std::size_t text, std::string_view so_far, bool ended);

 private:
  std::vector<std::size_t> told_;  // bytes of each that were handed on
  std::size_t held_;
  Say say_;
};

}  // namespace colonnade
