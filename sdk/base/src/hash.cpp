#include "colonnade/hash.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "colonnade/error.h"

namespace colonnade {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::size_t kShortHexDigits = 12;
constexpr std::size_t kReadSize = std::size_t{1} << 20;

// Looked up once: OpenSSL's implicit lookup takes longer than hashing a small value. Never freed, since other static
// objects may hash while the process ends.
const EVP_MD* sha256_algorithm() {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  if (algorithm == nullptr) throw Error(ErrorKind::environment, "OpenSSL offers no SHA-256");
  return algorithm;
}

void require(int openssl_result) {
  if (openssl_result != 1) throw Error(ErrorKind::environment, "OpenSSL failed to compute a SHA-256");
}

}  // namespace

bool Hash::is_none() const {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; });
}

std::string Hash::hex() const {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::uint8_t byte : bytes) {
    text += kHexDigits[byte >> 4];
    text += kHexDigits[byte & 0xf];
  }
  return text;
}

std::string Hash::short_hex() const {
  return hex().substr(0, kShortHexDigits);
}

Hash Hash::from_hex(std::string_view text) {
  Hash hash;
  const bool well_formed =
      text.size() == 2 * hash.bytes.size() && text.find_first_not_of(kHexDigits) == std::string_view::npos;
  if (!well_formed) {
    throw Error(ErrorKind::input, "'" + std::string(text.substr(0, 80)) + "' is not a hash; allowed: " +
                                      std::to_string(2 * hash.bytes.size()) + " lower-case hexadecimal digits");
  }
  for (std::size_t i = 0; i < hash.bytes.size(); ++i) {
    const std::size_t high = kHexDigits.find(text[2 * i]);
    const std::size_t low = kHexDigits.find(text[2 * i + 1]);
    hash.bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return hash;
}

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  require(state_->context != nullptr ? 1 : 0);
  require(EVP_DigestInit_ex2(state_->context, sha256_algorithm(), nullptr));
}

Sha256::~Sha256() = default;

void Sha256::update(const void* data, std::size_t size) {
  if (size == 0) return;
  require(EVP_DigestUpdate(state_->context, data, size));
}

Hash Sha256::finish() {
  Hash hash;
  unsigned int size = 0;
  require(EVP_DigestFinal_ex(state_->context, hash.bytes.data(), &size));
  return hash;
}

Hash hash_bytes(std::string_view bytes) {
  Sha256 sha;
  sha.update(bytes);
  return sha.finish();
}

Hash hash_file(const std::filesystem::path& file) {
  const auto fail = [&file](int error) {
    return Error(ErrorKind::environment, "cannot read '" + file.string() + "': " + std::strerror(error));
  };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> stream(std::fopen(file.c_str(), "rb"), &std::fclose);
  if (stream == nullptr) throw fail(errno);
  std::setvbuf(stream.get(), nullptr, _IONBF, 0);
  Sha256 sha;
  std::vector<char> buffer(kReadSize);
  while (true) {
    const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), stream.get());
    sha.update(buffer.data(), count);
    if (count == buffer.size()) continue;
    if (std::ferror(stream.get()) != 0) throw fail(errno);
    return sha.finish();
  }
}

}  // namespace colonnade
