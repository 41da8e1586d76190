#include "collect.h"

#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>

#include "colonnade/error.h"

namespace colonnade::images {
namespace {

constexpr std::int64_t kChannels = 3;
constexpr std::size_t kMostNamed = 20;

/// "#rrggbb", "white", "black" or "none".
Background background_of(const std::string& text) {
  if (text == "none") return {};
  if (text == "white") return {true, {255, 255, 255}};
  if (text == "black") return {true, {0, 0, 0}};
  constexpr std::size_t kLength = 7;
  if (text.size() == kLength && text[0] == '#' &&
      text.find_first_not_of("0123456789abcdefABCDEF", 1) == std::string::npos) {
    constexpr int kHex = 16;
    Background background{true, {}};
    for (std::size_t i = 0; i < background.colour.size(); ++i) {
      background.colour[i] = static_cast<std::uint8_t>(std::stoi(text.substr(1 + 2 * i, 2), nullptr, kHex));
    }
    return background;
  }
  throw Error(ErrorKind::usage,
              "background is '" + text + "'; allowed: 'none', 'white', 'black', or a colour as '#rrggbb'");
}

std::vector<double> three(const OpContext& context, const char* name) {
  auto values = context.param<std::vector<double>>(name);
  if (values.size() == static_cast<std::size_t>(kChannels)) return values;
  throw Error(ErrorKind::usage, std::string(name) + " has " + std::to_string(values.size()) +
                                    " entries; allowed: 3, for red, green and blue");
}

}  // namespace

Preprocessing Preprocessing::from_params(const OpContext& context) {
  Preprocessing result;
  result.size = context.param<std::int64_t>("size");
  result.resize = context.has_param("resize") ? context.param<std::int64_t>("resize") : result.size;
  result.background = background_of(context.param<std::string>("background"));
  result.mean = three(context, "mean");
  result.deviation = three(context, "deviation");
  return result;
}

Picture Preprocessing::apply(const Picture& picture) const {
  return crop_centre(resize_shorter(picture, resize), size);
}

void declare_preprocessing(OpDeclaration& op, std::int64_t size, const char* background) {
  op.param(integer("size", "side of the pictures, cut from the middle").range(1, 4096).in("pixels").fall_back(size))
      .param(integer("resize", "length that the shorter side is brought to before; by default `size`")
                 .range(1, 4096)
                 .in("pixels")
                 .optional())
      .param(
          text("background", "colour behind transparent pictures: none, white, black or #rrggbb").fall_back(background))
      .param(list("mean", ParamType::real, "subtracted from red, green and blue in [0, 1]; by default CLIP's")
                 .fall_back(Json::array({0.48145466, 0.4578275, 0.40821073})))
      .param(list("deviation", ParamType::real, "what red, green and blue are divided by; by default CLIP's")
                 .above(0)
                 .fall_back(Json::array({0.26862954, 0.26130258, 0.27577711})));
}

void Skips::lie_below(const std::string& folder) {
  folder_ = folder.ends_with('/') ? folder : folder + "/";
}

void Skips::add(const std::string& path, const std::string& why) {
  const std::string what = !folder_.empty() && path.starts_with(folder_) ? path.substr(folder_.size()) : path;
  ++count_;
  ++reasons_[why];
  if (named_.size() < kMostNamed) named_.push_back(what + ": " + why);
}

Json Skips::to_json() const {
  return {{"count", count_}, {"reasons", reasons_}, {"first", named_}};
}

std::int64_t Collection::add(const Picture& picture) {
  const Picture ready = preprocessing_.apply(picture);
  const std::size_t plane = static_cast<std::size_t>(ready.width * ready.height);
  const std::size_t start = pixels_.size();
  pixels_.resize(start + kChannels * plane);
  for (std::size_t i = 0; i < plane; ++i) {
    for (std::size_t channel = 0; channel < kChannels; ++channel) {
      pixels_[start + channel * plane + i] = ready.pixels[kChannels * i + channel];
    }
  }
  return count_++;
}

void Collection::add_text(std::string text, std::int64_t picture, std::int64_t answer) {
  texts_.push_back({std::move(text), picture, answer});
}

Pictures Collection::finish(const std::string& split, const std::vector<std::string>& classes,
                            const std::vector<std::string>& answers) {
  Pictures result;
  const std::int64_t side = preprocessing_.size;
  result.pixels = Blob::of(DType::u8, pixels_, {count_, kChannels, side, side});
  result.labels = std::move(labels_);
  result.classes = classes;
  result.texts = std::move(texts_);
  result.answers = answers;
  result.mean = preprocessing_.mean;
  result.deviation = preprocessing_.deviation;
  result.split = split;
  return result;
}

Collection& Splits::by_position(std::int64_t position) {
  constexpr std::int64_t kNeighbours = 10, kFirstHeldOut = 7, kValidation = 7;
  const std::int64_t place = position % kNeighbours;
  return parts[place < kFirstHeldOut ? 0 : place == kValidation ? 1 : 2];
}

Value Splits::finish(OpContext& context, const std::string& source) {
  Value value;
  Json info = {{"skipped", skips.to_json()}};
  std::int64_t pictures = 0;
  for (int i = 0; i < kSplits; ++i) {
    pictures += parts[i].count();
    info[kSplitNames[i]] = parts[i].count();
    value.fields[kSplitNames[i]] = to_field(parts[i].finish(kSplitNames[i], classes, answers));
  }
  if (pictures == 0) {
    const Json first = skips.to_json().at("first");
    throw Error(ErrorKind::input, source + ": no picture could be used; " + std::to_string(skips.count()) +
                                      " were skipped" +
                                      (first.empty() ? "" : ", the first: " + first[0].get<std::string>()));
  }
  if (skips.count() > 0) {
    context.log(source + ": " + std::to_string(skips.count()) +
                " skipped, the first: " + skips.to_json().at("first")[0].get<std::string>());
  }
  value.fields["info"] = record_field(std::move(info));
  return value;
}

std::string read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw Error(ErrorKind::input, path + ": cannot be opened: " + std::strerror(errno));
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::string read_packed_file(const std::string& path) {
  const std::unique_ptr<gzFile_s, decltype(&gzclose)> file(gzopen(path.c_str(), "rb"), &gzclose);
  if (!file) throw Error(ErrorKind::input, path + ": cannot be opened: " + std::strerror(errno));
  constexpr std::size_t kMost = 1U << 30U;
  std::string text;
  std::vector<char> buffer(1U << 16U);
  for (;;) {
    const int count = gzread(file.get(), buffer.data(), static_cast<unsigned>(buffer.size()));
    if (count < 0 || text.size() > kMost)
      throw Error(ErrorKind::input, path + ": damaged, or larger than can be meant");
    if (count == 0) {
      int state = Z_OK;  // a packed file that ends too early gives what it has and says so here alone
      gzerror(file.get(), &state);
      if (state == Z_BUF_ERROR) throw Error(ErrorKind::input, path + ": truncated: it ends within its packed data");
      return text;
    }
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

std::optional<std::int64_t> add_file(const std::string& path, const Preprocessing& preprocessing,
                                     Collection& collection, Skips& skips) {
  try {
    return collection.add(decode(read_file(path), preprocessing.background));
  } catch (const Error& error) {
    // A message about opening holds the path already; reasons are counted without it.
    const std::string why = error.what();
    skips.add(path, why.starts_with(path + ": ") ? why.substr(path.size() + 2) : why);
    return std::nullopt;
  }
}

}  // namespace colonnade::images
