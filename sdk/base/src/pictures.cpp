#include "colonnade/pictures.h"

#include <cstring>

#include "colonnade/error.h"

namespace colonnade {
namespace {

constexpr const char* kType = "pictures";
constexpr std::int64_t kChannels = 3;
constexpr std::size_t kDimensions = 4;

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorKind::input, "pictures: " + what);
}

void check_number(std::int64_t number, std::size_t count, const std::string& what) {
  if (number >= 0 && number < static_cast<std::int64_t>(count)) return;
  refuse(what + " is number " + std::to_string(number) + " of " + std::to_string(count));
}

void check(const Pictures& pictures) {
  const auto& shape = pictures.pixels.shape();
  if (pictures.pixels.dtype() != DType::u8 || shape.size() != kDimensions || shape[1] != kChannels ||
      shape[2] != shape[3]) {
    refuse("the pixels are not bytes [count, 3, size, size]");
  }
  const auto count = static_cast<std::size_t>(pictures.count());
  if (!pictures.labels.empty() && pictures.labels.size() != count) {
    refuse("there are " + std::to_string(pictures.labels.size()) + " labels for " + std::to_string(count) +
           " pictures");
  }
  for (const std::int32_t label : pictures.labels)
    check_number(label, pictures.classes.size(), "the class of a picture");
  for (const PictureText& text : pictures.texts) {
    check_number(text.picture, count, "the picture of a text");
    if (text.answer != -1) check_number(text.answer, pictures.answers.size(), "the answer of a text");
  }
  if (pictures.mean.size() != kChannels || pictures.deviation.size() != kChannels) {
    refuse("mean and deviation have " + std::to_string(pictures.mean.size()) + " and " +
           std::to_string(pictures.deviation.size()) + " entries; allowed: 3, for red, green and blue");
  }
  for (const double deviation : pictures.deviation) {
    if (!(deviation > 0)) refuse("a deviation is not above 0");
  }
}

Blob text_bytes(const Pictures& pictures, std::vector<std::int64_t>& ends) {
  std::string bytes;
  for (const PictureText& text : pictures.texts) {
    bytes += text.text;
    ends.push_back(static_cast<std::int64_t>(bytes.size()));
  }
  return Blob::copy(DType::u8, {static_cast<std::int64_t>(bytes.size())}, bytes.data());
}

/// Elements of a tensor of one row, of the type asked for.
template <typename T>
std::vector<T> row(const Field& field, const char* name, DType dtype) {
  const auto found = field.tensors.find(name);
  if (found == field.tensors.end()) refuse(std::string("the tensor '") + name + "' is missing");
  const Blob& blob = found->second;
  if (blob.dtype() != dtype || blob.shape().size() != 1) refuse(std::string("the tensor '") + name + "' is no row");
  return {blob.as<T>(), blob.as<T>() + blob.elements()};
}

std::vector<PictureText> texts_of(const Field& field) {
  const auto bytes = row<std::uint8_t>(field, "texts", DType::u8);
  const auto ends = row<std::int64_t>(field, "text_ends", DType::i64);
  const auto owners = row<std::int32_t>(field, "text_pictures", DType::i32);
  const auto answers = row<std::int32_t>(field, "text_answers", DType::i32);
  if (owners.size() != ends.size() || answers.size() != ends.size()) refuse("the texts' tensors differ in length");
  std::vector<PictureText> texts;
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < ends.size(); ++i) {
    if (ends[i] < begin || ends[i] > static_cast<std::int64_t>(bytes.size()))
      refuse("the texts' ends are out of order");
    texts.push_back({std::string(bytes.begin() + begin, bytes.begin() + ends[i]), owners[i], answers[i]});
    begin = ends[i];
  }
  return texts;
}

}  // namespace

Field to_field(const Pictures& pictures) {
  check(pictures);
  Field field;
  field.type = kType;
  field.document = {{"classes", pictures.classes},
                    {"answers", pictures.answers},
                    {"mean", pictures.mean},
                    {"deviation", pictures.deviation},
                    {"split", pictures.split}};
  field.tensors.emplace("pixels", pictures.pixels);
  const auto labels = static_cast<std::int64_t>(pictures.labels.size());
  if (labels > 0) field.tensors.emplace("labels", Blob::of(DType::i32, pictures.labels, {labels}));
  std::vector<std::int64_t> ends;
  std::vector<std::int32_t> owners, answers;
  field.tensors.emplace("texts", text_bytes(pictures, ends));
  for (const PictureText& text : pictures.texts) {
    owners.push_back(static_cast<std::int32_t>(text.picture));
    answers.push_back(static_cast<std::int32_t>(text.answer));
  }
  const auto count = static_cast<std::int64_t>(ends.size());
  field.tensors.emplace("text_ends", Blob::of(DType::i64, ends, {count}));
  field.tensors.emplace("text_pictures", Blob::of(DType::i32, owners, {count}));
  field.tensors.emplace("text_answers", Blob::of(DType::i32, answers, {count}));
  return field;
}

Pictures pictures_from(const Field& field) {
  if (field.type != kType) {
    throw Error(ErrorKind::input, "a field of type '" + field.type + "' was given where 'pictures' is needed");
  }
  Pictures pictures;
  const auto pixels = field.tensors.find("pixels");
  if (pixels == field.tensors.end()) refuse("the tensor 'pixels' is missing");
  pictures.pixels = pixels->second;
  if (field.tensors.contains("labels")) pictures.labels = row<std::int32_t>(field, "labels", DType::i32);
  pictures.texts = texts_of(field);
  try {
    field.document.at("classes").get_to(pictures.classes);
    field.document.at("answers").get_to(pictures.answers);
    field.document.at("mean").get_to(pictures.mean);
    field.document.at("deviation").get_to(pictures.deviation);
    field.document.at("split").get_to(pictures.split);
  } catch (const Json::exception& problem) {
    refuse(std::string("the document cannot be read: ") + problem.what());
  }
  check(pictures);
  return pictures;
}

}  // namespace colonnade
