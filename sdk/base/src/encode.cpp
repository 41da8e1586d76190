#include "colonnade/encode.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>

#include "colonnade/error.h"

namespace colonnade {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the canonical encoding is written on little-endian machines");

constexpr std::size_t kWordSize = sizeof(std::uint64_t);
constexpr int kMaxNesting = 256;
constexpr std::uint64_t kCanonicalNan = 0x7ff8000000000000;
constexpr auto kMaxSigned = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());

void put_word(std::string& out, std::uint64_t word) {
  std::array<char, kWordSize> bytes;
  std::memcpy(bytes.data(), &word, kWordSize);
  out.append(bytes.data(), kWordSize);
}

void put_text(std::string& out, std::string_view text) {
  put_word(out, text.size());
  out.append(text);
}

void put_tagged(std::string& out, char tag, std::uint64_t word) {
  out += tag;
  put_word(out, word);
}

void put_real(std::string& out, double value) {
  put_tagged(out, 'd', std::isnan(value) ? kCanonicalNan : std::bit_cast<std::uint64_t>(value));
}

void put_binary(std::string& out, const Json::binary_t& binary) {
  if (binary.has_subtype()) throw Error(ErrorKind::input, "binary data with a subtype has no canonical encoding");
  put_tagged(out, 'b', binary.size());
  out.append(reinterpret_cast<const char*>(binary.data()), binary.size());
}

void put_document(std::string& out, const Json& document, int nesting);

void put_array(std::string& out, const Json& document, int nesting) {
  put_tagged(out, 'a', document.size());
  for (const Json& item : document) put_document(out, item, nesting);
}

void put_object(std::string& out, const Json& document, int nesting) {
  put_tagged(out, 'o', document.size());
  for (const auto& [key, item] : document.get_ref<const Json::object_t&>()) {
    put_text(out, key);
    put_document(out, item, nesting);
  }
}

void put_document(std::string& out, const Json& document, int nesting) {
  if (document.is_structured() && nesting == kMaxNesting) {
    throw Error(ErrorKind::input,
                "a document nested deeper than " + std::to_string(kMaxNesting) + " levels has no canonical encoding");
  }
  switch (document.type()) {
    case Json::value_t::null:
      out += 'n';
      return;
    case Json::value_t::boolean:
      out += document.get<bool>() ? 't' : 'f';
      return;
    case Json::value_t::number_integer:
      put_tagged(out, 'i', static_cast<std::uint64_t>(document.get<std::int64_t>()));
      return;
    case Json::value_t::number_unsigned: {
      const auto number = document.get<std::uint64_t>();
      put_tagged(out, number <= kMaxSigned ? 'i' : 'u', number);
      return;
    }
    case Json::value_t::number_float:
      put_real(out, document.get<double>());
      return;
    case Json::value_t::string:
      out += 's';
      put_text(out, document.get_ref<const std::string&>());
      return;
    case Json::value_t::binary:
      put_binary(out, document.get_binary());
      return;
    case Json::value_t::array:
      put_array(out, document, nesting + 1);
      return;
    case Json::value_t::object:
      put_object(out, document, nesting + 1);
      return;
    case Json::value_t::discarded:
      break;
  }
  throw Error(ErrorKind::input, "a discarded JSON value has no canonical encoding");
}

// Reads from the front of what is left; every step checks the length first.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : left_(bytes) {}

  std::string_view left() const { return left_; }

  Json document(int nesting) {
    const char tag = take(1).front();
    switch (tag) {
      case 'n':
        return nullptr;
      case 't':
        return true;
      case 'f':
        return false;
      case 'i':
        return static_cast<std::int64_t>(word());
      case 'u':
        return large_integer();
      case 'd':
        return real();
      case 's':
        return std::string(text());
      case 'b':
        return binary();
      case 'a':
        return array(deeper(nesting));
      case 'o':
        return object(deeper(nesting));
      default:
        break;
    }
    throw bad("an unknown tag, byte " + std::to_string(static_cast<unsigned char>(tag)));
  }

 private:
  static Error bad(const std::string& what) {
    return Error(ErrorKind::input, "not a document in the canonical encoding: " + what);
  }

  static int deeper(int nesting) {
    if (nesting == kMaxNesting) throw bad("nested deeper than " + std::to_string(kMaxNesting) + " levels");
    return nesting + 1;
  }

  std::string_view take(std::uint64_t size) {
    if (size > left_.size()) {
      throw bad("it needs " + std::to_string(size) + " more bytes where " + std::to_string(left_.size()) + " are left");
    }
    const std::string_view taken = left_.substr(0, size);
    left_.remove_prefix(size);
    return taken;
  }

  std::uint64_t word() {
    std::uint64_t value = 0;
    std::memcpy(&value, take(kWordSize).data(), kWordSize);
    return value;
  }

  std::string_view text() { return take(word()); }

  Json large_integer() {
    const std::uint64_t value = word();
    if (value <= kMaxSigned) throw bad("a small integer written as a large one");
    return value;
  }

  Json real() {
    const std::uint64_t bits = word();
    const auto value = std::bit_cast<double>(bits);
    if (std::isnan(value) && bits != kCanonicalNan) throw bad("a NaN with other bits than the canonical one");
    return value;
  }

  Json binary() {
    const std::string_view bytes = text();
    return Json::binary(Json::binary_t::container_type(bytes.begin(), bytes.end()));
  }

  // An item takes `smallest` bytes or more, so a larger count is a lie; knowing that first bounds the memory it can
  // claim.
  std::uint64_t count(std::uint64_t smallest) {
    const std::uint64_t items = word();
    if (items > left_.size() / smallest) {
      throw bad("a count of " + std::to_string(items) + " where " + std::to_string(left_.size()) + " bytes are left");
    }
    return items;
  }

  Json array(int nesting) {
    const std::uint64_t items = count(1);
    Json result = Json::array();
    for (std::uint64_t i = 0; i < items; ++i) result.push_back(document(nesting));
    return result;
  }

  Json object(int nesting) {
    const std::uint64_t pairs = count(kWordSize + 1);
    Json::object_t result;
    std::optional<std::string_view> last;
    for (std::uint64_t i = 0; i < pairs; ++i) {
      const std::string_view key = text();
      if (last.has_value() && key <= *last) throw bad("the keys of an object are not in order, each once");
      last = key;
      result.emplace_hint(result.end(), std::string(key), document(nesting));
    }
    return result;
  }

  std::string_view left_;
};

}  // namespace

void encode_to(std::string& out, const Json& document) {
  put_document(out, document, 0);
}

std::string encode(const Json& document) {
  std::string out;
  encode_to(out, document);
  return out;
}

Json decode(std::string_view bytes) {
  Json document = decode_front(bytes);
  if (!bytes.empty()) {
    throw Error(ErrorKind::input,
                "not a document in the canonical encoding: " + std::to_string(bytes.size()) + " bytes follow its end");
  }
  return document;
}

Json decode_front(std::string_view& bytes) {
  Decoder decoder(bytes);
  Json document = decoder.document(0);
  bytes = decoder.left();
  return document;
}

}  // namespace colonnade
