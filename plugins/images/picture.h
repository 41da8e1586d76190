// One picture in memory: decoding, resizing, cropping.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace colonnade::images {

/// Rows of red, green and blue bytes.
struct Picture {
  std::int64_t width = 0, height = 0;
  std::vector<std::uint8_t> pixels;  // 3 width height

  std::uint8_t* row(std::int64_t y) { return pixels.data() + 3 * width * y; }
  const std::uint8_t* row(std::int64_t y) const { return pixels.data() + 3 * width * y; }
};

/// What shows through where a picture is transparent; absent: the colour behind is kept as stored.
struct Background {
  bool painted = false;
  std::array<std::uint8_t, 3> colour{};
};

/// PNG or JPEG, told by its first bytes. Grey and palettes become colours, 16 bits 8. Throws Error(input) saying what
/// is wrong with the bytes: another format, damaged or truncated, larger than 2^28 pixels.
Picture decode(std::string_view bytes, const Background& background);
Picture decode_png(std::string_view bytes, const Background& background);
Picture decode_jpeg(std::string_view bytes);

/// The cubic filter (a = -1/2) widened by the reduction, horizontally, then vertically, with bytes in between: to the
/// byte what the Python Imaging Library gives for its bicubic resampling.
Picture resize(const Picture& picture, std::int64_t width, std::int64_t height);

/// The shorter side to `side`, the longer to its whole part in proportion.
Picture resize_shorter(const Picture& picture, std::int64_t side);

/// The middle `side` by `side`; what lies outside is black. An odd remainder is halved to the even neighbour, as
/// rounding does.
Picture crop_centre(const Picture& picture, std::int64_t side);

}  // namespace colonnade::images
