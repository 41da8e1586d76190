#include "colonnade/files.h"

#include <algorithm>

#include "colonnade/error.h"
#include "colonnade/text.h"

namespace colonnade {
namespace {

constexpr const char* kType = "files";
constexpr std::size_t kLongestPart = 255;
constexpr std::size_t kShownBytes = 200;

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorKind::input, "files: " + what);
}

[[noreturn]] void refuse_name(const std::string& name, const std::string& why) {
  refuse("'" + shortened(json_text(name), kShownBytes) + "' is no name for a file: " + why +
         "; allowed: relative names with '/' between folders");
}

bool is_control(char character) {
  constexpr unsigned char kFirstPrinted = 0x20, kDelete = 0x7f;
  const auto code = static_cast<unsigned char>(character);
  return code < kFirstPrinted || code == kDelete;
}

void check_part(const std::string& name, std::string_view part) {
  if (part.empty()) refuse_name(name, "a part of it is empty");
  if (part == "." || part == "..") refuse_name(name, "it has the part '" + std::string(part) + "'");
  if (part.back() == '.' || part.back() == ' ') refuse_name(name, "a part of it ends with a dot or a space");
  if (part.size() > kLongestPart) refuse_name(name, "a part of it has more than 255 bytes");
}

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return 'A' <= c && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return text;
}

void check(const Files& files) {
  if (files.format.empty()) refuse("the format has no name");
  if (files.files.empty()) refuse("there are none");
  std::map<std::string, std::string> names;  // by lower case
  for (const auto& [name, bytes] : files.files) {
    check_file_name(name);
    if (bytes.dtype() != DType::u8 || bytes.shape().size() != 1) refuse("'" + name + "' is no row of bytes");
    const auto [other, is_new] = names.emplace(lower_case(name), name);
    if (!is_new) refuse("'" + other->second + "' and '" + name + "' differ only in case");
  }
  for (const auto& [key, name] : names) {
    for (std::size_t slash = key.find('/'); slash != std::string::npos; slash = key.find('/', slash + 1)) {
      const auto folder = names.find(key.substr(0, slash));
      if (folder != names.end()) refuse("'" + folder->second + "' is a file and the folder of '" + name + "'");
    }
  }
}

}  // namespace

Blob file_bytes(std::string_view bytes) {
  return Blob::copy(DType::u8, {static_cast<std::int64_t>(bytes.size())}, bytes.data());
}

void check_file_name(const std::string& name) {
  constexpr const char* kForbidden = "\\:*?\"<>|";
  if (!is_utf8(name)) refuse_name(name, "it is not UTF-8");
  if (name.starts_with('/')) refuse_name(name, "it is absolute");
  if (name.find_first_of(kForbidden) != std::string::npos) refuse_name(name, "it has one of \\ : * ? \" < > |");
  if (std::any_of(name.begin(), name.end(), is_control)) refuse_name(name, "it has a control character");
  std::size_t begin = 0;
  for (std::size_t slash = name.find('/'); slash != std::string::npos; slash = name.find('/', begin)) {
    check_part(name, std::string_view(name).substr(begin, slash - begin));
    begin = slash + 1;
  }
  check_part(name, std::string_view(name).substr(begin));
}

Field to_field(const Files& files) {
  check(files);
  Field field;
  field.type = kType;
  field.document = {{"format", files.format}};
  field.tensors = files.files;
  return field;
}

Files files_from(const Field& field) {
  if (field.type != kType) {
    throw Error(ErrorKind::input, "a field of type '" + field.type + "' was given where 'files' is needed");
  }
  const auto format = field.document.find("format");
  if (format == field.document.end() || !format->is_string()) refuse("the document names no format");
  Files files{format->get<std::string>(), field.tensors};
  check(files);
  return files;
}

}  // namespace colonnade
