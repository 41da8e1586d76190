#include "colonnade/plugin.h"

#include <cstdlib>
#include <cstring>

namespace colonnade {

char* own_message(const char* message) noexcept {
  char* copy = strdup(message);
  // Out of memory while telling about an error: end here rather than report success.
  if (copy == nullptr) std::abort();
  return copy;
}

void release_message(char* message) noexcept {
  std::free(message);
}

}  // namespace colonnade
