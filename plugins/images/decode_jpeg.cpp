#include <csetjmp>
#include <cstdio>
// jpeglib.h wants cstdio before it.
#include <jpeglib.h>

#include "colonnade/error.h"
#include "limits.h"
#include "picture.h"

namespace colonnade::images {
namespace {

struct ErrorState {
  jpeg_error_mgr manager;  // first: libjpeg hands out its address
  jmp_buf leave;
  char message[JMSG_LENGTH_MAX] = {};
};

void on_error(j_common_ptr common) {
  auto* state = reinterpret_cast<ErrorState*>(common->err);
  state->manager.format_message(common, state->message);
  longjmp(state->leave, 1);
}

/// Corrupt data is a warning to libjpeg, which goes on with grey; a picture half grey is no picture.
void on_message(j_common_ptr common, int level) {
  if (level < 0) on_error(common);
}

/// A progressive file may hold thousands of empty scans, each of which passes over the whole picture.
void on_progress(j_common_ptr common) {
  constexpr int kMostScans = 100;  // encoders write about ten
  if (reinterpret_cast<j_decompress_ptr>(common)->input_scan_number <= kMostScans) return;
  auto* state = reinterpret_cast<ErrorState*>(common->err);
  std::snprintf(state->message, sizeof(state->message), "it has more than %d scans", kMostScans);
  longjmp(state->leave, 1);
}

/// Everything between setjmp and its return is free of destructors: libjpeg leaves by longjmp.
class JpegReader {
 public:
  JpegReader() {
    info_.err = jpeg_std_error(&errors_.manager);
    errors_.manager.error_exit = on_error;
    errors_.manager.emit_message = on_message;
    jpeg_create_decompress(&info_);
    progress_.progress_monitor = on_progress;
    info_.progress = &progress_;
  }
  ~JpegReader() { jpeg_destroy_decompress(&info_); }
  JpegReader(const JpegReader&) = delete;

  bool start(std::string_view bytes) {
    if (setjmp(errors_.leave) != 0) return false;
    jpeg_mem_src(&info_, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
    jpeg_read_header(&info_, TRUE);
    inverted_ = info_.saw_Adobe_marker != 0;
    four_ = info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK;
    info_.out_color_space = four_ ? JCS_CMYK : JCS_RGB;
    return true;
  }
  bool read(std::uint8_t* rows, std::size_t stride) {
    if (setjmp(errors_.leave) != 0) return false;
    jpeg_start_decompress(&info_);
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = rows + info_.output_scanline * stride;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    jpeg_finish_decompress(&info_);
    return true;
  }
  std::int64_t width() const { return info_.image_width; }
  std::int64_t height() const { return info_.image_height; }
  bool four() const { return four_; }
  bool inverted() const { return inverted_; }
  std::string message() const { return errors_.message; }

 private:
  jpeg_decompress_struct info_{};
  ErrorState errors_{};
  jpeg_progress_mgr progress_{};
  bool four_ = false, inverted_ = false;
};

}  // namespace

Picture decode_jpeg(std::string_view bytes) {
  JpegReader reader;
  const auto refuse = [&] { throw Error(ErrorKind::input, "a damaged JPEG: " + reader.message()); };
  if (!reader.start(bytes)) refuse();
  Picture picture{reader.width(), reader.height(), {}};
  require_reasonable(picture.width, picture.height);
  constexpr std::size_t kChannels = 3, kInks = 4;
  const auto count = static_cast<std::size_t>(picture.width * picture.height);
  const std::size_t samples = reader.four() ? kInks : kChannels;
  picture.pixels.resize(samples * count);
  if (!reader.read(picture.pixels.data(), samples * static_cast<std::size_t>(picture.width))) refuse();
  if (!reader.four()) return picture;
  // Inks to light, in place: each picture element shrinks from four bytes to three.
  constexpr int kWhite = 255;
  for (std::size_t i = 0; i < count; ++i) {
    const auto light = [&](std::size_t ink) {
      const int value = picture.pixels[kInks * i + ink];
      return reader.inverted() ? value : kWhite - value;
    };
    const int black = light(kChannels);
    for (std::size_t channel = 0; channel < kChannels; ++channel) {
      picture.pixels[kChannels * i + channel] = static_cast<std::uint8_t>(light(channel) * black / kWhite);
    }
  }
  picture.pixels.resize(kChannels * count);
  return picture;
}

}  // namespace colonnade::images
