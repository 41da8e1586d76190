#include "colonnade/error.h"
#include "limits.h"
#include "picture.h"

namespace colonnade::images {

void require_reasonable(std::int64_t width, std::int64_t height) {
  constexpr std::int64_t kMostPixels = 1 << 28;
  if (width > 0 && height > 0 && width <= kMostPixels / height) return;
  throw Error(ErrorKind::input, "a picture of " + std::to_string(width) + " by " + std::to_string(height) +
                                    " pixels; allowed: 1 to " + std::to_string(kMostPixels) + " pixels in all");
}

Picture decode(std::string_view bytes, const Background& background) {
  using namespace std::string_view_literals;
  if (bytes.starts_with("\x89PNG\r\n\x1a\n"sv)) return decode_png(bytes, background);
  if (bytes.starts_with("\xff\xd8"sv)) return decode_jpeg(bytes);
  if (bytes.empty()) throw Error(ErrorKind::input, "an empty file");
  throw Error(ErrorKind::input, "neither PNG nor JPEG by its first bytes");
}

}  // namespace colonnade::images
