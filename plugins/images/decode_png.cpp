#include <png.h>

#include <csetjmp>
#include <cstring>

#include "colonnade/error.h"
#include "limits.h"
#include "picture.h"

namespace colonnade::images {
namespace {

struct Source {
  std::string_view bytes;
  std::size_t at = 0;
  std::string message;
};

void read_bytes(png_structp png, png_bytep to, std::size_t count) {
  auto* source = static_cast<Source*>(png_get_io_ptr(png));
  if (count > source->bytes.size() - source->at) png_error(png, "it is truncated");
  std::memcpy(to, source->bytes.data() + source->at, count);
  source->at += count;
}

void on_error(png_structp png, png_const_charp message) {
  static_cast<Source*>(png_get_error_ptr(png))->message = message;
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

/// Everything between setjmp and its return is free of destructors: libpng leaves by longjmp.
class PngReader {
 public:
  explicit PngReader(Source& source) : source_(source) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, on_error, on_warning);
    info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
    if (info_ == nullptr) throw Error(ErrorKind::environment, "libpng cannot be set up");
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;

  bool read_header() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    constexpr png_uint_32 kMostSide = 1 << 20;
    constexpr png_alloc_size_t kMostChunk = 8 << 20;
    png_set_user_limits(png_, kMostSide, kMostSide);
    png_set_chunk_malloc_max(png_, kMostChunk);
    png_set_read_fn(png_, &source_, read_bytes);
    png_read_info(png_, info_);
    png_set_strip_16(png_);
    png_set_expand(png_);
    png_set_gray_to_rgb(png_);
    png_set_add_alpha(png_, 0xFF, PNG_FILLER_AFTER);
    passes_ = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }
  std::int64_t width() const { return png_get_image_width(png_, info_); }
  std::int64_t height() const { return png_get_image_height(png_, info_); }
  std::size_t row_bytes() const { return png_get_rowbytes(png_, info_); }

  /// Red, green, blue and alpha of all rows.
  bool read_rows(std::uint8_t* rgba, std::int64_t height, std::size_t stride) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    for (int pass = 0; pass < passes_; ++pass) {
      for (std::int64_t y = 0; y < height; ++y)
        png_read_row(png_, rgba + static_cast<std::size_t>(y) * stride, nullptr);
    }
    png_read_end(png_, nullptr);
    return true;
  }

 private:
  Source& source_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  int passes_ = 1;
};

std::uint8_t blended(std::uint8_t front, std::uint8_t behind, int alpha) {
  constexpr int kOpaque = 255;
  return static_cast<std::uint8_t>((front * alpha + behind * (kOpaque - alpha) + kOpaque / 2) / kOpaque);
}

}  // namespace

Picture decode_png(std::string_view bytes, const Background& background) {
  Source source{bytes, 0, {}};
  PngReader reader(source);
  const auto refuse = [&] { throw Error(ErrorKind::input, "a damaged PNG: " + source.message); };
  if (!reader.read_header()) refuse();
  Picture picture{reader.width(), reader.height(), {}};
  require_reasonable(picture.width, picture.height);
  constexpr std::size_t kChannels = 3, kWithAlpha = 4;
  const auto count = static_cast<std::size_t>(picture.width * picture.height);
  if (reader.row_bytes() != kWithAlpha * static_cast<std::size_t>(picture.width)) {
    throw Error(ErrorKind::input, "a PNG whose rows have " + std::to_string(reader.row_bytes()) + " bytes");
  }
  std::vector<std::uint8_t> rgba(kWithAlpha * count);
  if (!reader.read_rows(rgba.data(), picture.height, reader.row_bytes())) refuse();
  picture.pixels.resize(kChannels * count);
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t channel = 0; channel < kChannels; ++channel) {
      const std::uint8_t front = rgba[kWithAlpha * i + channel];
      picture.pixels[kChannels * i + channel] =
          background.painted ? blended(front, background.colour[channel], rgba[kWithAlpha * i + kChannels]) : front;
    }
  }
  return picture;
}

}  // namespace colonnade::images
