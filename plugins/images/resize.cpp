#include <algorithm>
#include <cmath>

#include "colonnade/error.h"
#include "picture.h"

namespace colonnade::images {
namespace {

constexpr int kChannels = 3;
constexpr double kSupport = 2;      // of the cubic
constexpr double kCubic = -0.5;     // its parameter a
constexpr int kPrecisionBits = 22;  // of weights: 32 less a byte less room for overshoot
constexpr std::int32_t kHalf = 1 << (kPrecisionBits - 1);
constexpr std::int64_t kHighestByte = 255;

double cubic(double x) {
  x = std::abs(x);
  if (x < 1) return ((kCubic + 2) * x - (kCubic + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * kCubic;
  return 0;
}

/// Which source pixels make a target one, and by which weights.
struct Taps {
  std::int64_t first = 0;
  std::vector<std::int32_t> weights;
};

std::vector<Taps> taps_for(std::int64_t from, std::int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double widening = std::max(scale, 1.0);
  const double support = kSupport * widening;
  std::vector<Taps> all(static_cast<std::size_t>(to));
  for (std::int64_t at = 0; at < to; ++at) {
    const double centre = (static_cast<double>(at) + 0.5) * scale;
    const auto first = std::max<std::int64_t>(0, static_cast<std::int64_t>(centre - support + 0.5));
    const auto last = std::min(from, static_cast<std::int64_t>(centre + support + 0.5));
    std::vector<double> weights;
    double sum = 0;
    for (std::int64_t x = first; x < last; ++x) {
      weights.push_back(cubic((static_cast<double>(x) - centre + 0.5) / widening));
      sum += weights.back();
    }
    Taps& taps = all[static_cast<std::size_t>(at)];
    taps.first = first;
    for (const double weight : weights) {
      const double fixed = weight / sum * (1 << kPrecisionBits);
      taps.weights.push_back(static_cast<std::int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5));
    }
  }
  return all;
}

std::uint8_t to_byte(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp<std::int64_t>(sum >> kPrecisionBits, 0, kHighestByte));
}

Picture blank(std::int64_t width, std::int64_t height) {
  Picture picture{width, height, {}};
  picture.pixels.resize(static_cast<std::size_t>(kChannels * width * height));
  return picture;
}

Picture resize_rows(const Picture& from, std::int64_t width) {
  Picture to = blank(width, from.height);
  const std::vector<Taps> all = taps_for(from.width, width);
  for (std::int64_t y = 0; y < from.height; ++y) {
    std::uint8_t* out = to.row(y);
    for (const Taps& taps : all) {
      const std::uint8_t* in = from.row(y) + kChannels * taps.first;
      std::int32_t sums[kChannels] = {kHalf, kHalf, kHalf};
      for (const std::int32_t weight : taps.weights) {
        for (int channel = 0; channel < kChannels; ++channel) sums[channel] += weight * in[channel];
        in += kChannels;
      }
      for (int channel = 0; channel < kChannels; ++channel) *out++ = to_byte(sums[channel]);
    }
  }
  return to;
}

Picture resize_columns(const Picture& from, std::int64_t height) {
  Picture to = blank(from.width, height);
  const std::vector<Taps> all = taps_for(from.height, height);
  const std::int64_t stride = kChannels * from.width;
  std::vector<std::int32_t> sums(static_cast<std::size_t>(stride));
  for (std::int64_t y = 0; y < height; ++y) {
    const Taps& taps = all[static_cast<std::size_t>(y)];
    std::fill(sums.begin(), sums.end(), kHalf);
    const std::uint8_t* in = from.row(taps.first);
    for (const std::int32_t weight : taps.weights) {
      for (std::int64_t i = 0; i < stride; ++i) sums[static_cast<std::size_t>(i)] += weight * in[i];
      in += stride;
    }
    std::transform(sums.begin(), sums.end(), to.row(y), to_byte);
  }
  return to;
}

/// (a - b) / 2 to the nearest whole number, of two the even one.
std::int64_t half_difference(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(std::nearbyint(static_cast<double>(a - b) / 2));
}

}  // namespace

Picture resize(const Picture& picture, std::int64_t width, std::int64_t height) {
  if (picture.width < 1 || picture.height < 1 || width < 1 || height < 1) {
    throw Error(ErrorKind::input, "a picture without pixels cannot be resized");
  }
  if (width == picture.width && height == picture.height) return picture;
  const Picture wide = width == picture.width ? picture : resize_rows(picture, width);
  return height == picture.height ? wide : resize_columns(wide, height);
}

Picture resize_shorter(const Picture& picture, std::int64_t side) {
  const std::int64_t shorter = std::max<std::int64_t>(1, std::min(picture.width, picture.height));
  const auto scaled = [&](std::int64_t length) { return side * length / shorter; };
  constexpr std::int64_t kMostLonger = 1 << 20;
  if (scaled(std::max(picture.width, picture.height)) > kMostLonger) {
    throw Error(ErrorKind::input, "a picture of " + std::to_string(picture.width) + " by " +
                                      std::to_string(picture.height) + " pixels is too narrow to be brought to " +
                                      std::to_string(side));
  }
  return resize(picture, scaled(picture.width), scaled(picture.height));
}

Picture crop_centre(const Picture& picture, std::int64_t side) {
  Picture result = blank(side, side);
  const std::int64_t left = half_difference(picture.width, side), top = half_difference(picture.height, side);
  const std::int64_t first = std::max<std::int64_t>(0, -left), last = std::min(side, picture.width - left);
  for (std::int64_t y = std::max<std::int64_t>(0, -top); y < std::min(side, picture.height - top); ++y) {
    if (first >= last) break;
    std::copy_n(picture.row(y + top) + kChannels * (first + left), kChannels * (last - first),
                result.row(y) + kChannels * first);
  }
  return result;
}

}  // namespace colonnade::images
