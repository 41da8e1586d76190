#pragma once

#include <string>

namespace colonnade::host {

// The end of a message: the nearest name if there is one ("; did you mean 'x'?"), then what is allowed.
inline std::string then(const std::string& hint, std::string rest) {
  if (hint.empty()) return "; " + rest;
  if (!rest.empty() && rest.front() >= 'a' && rest.front() <= 'z')
    rest.front() = static_cast<char>(rest.front() - 'a' + 'A');
  return hint + " " + rest;
}

}  // namespace colonnade::host
