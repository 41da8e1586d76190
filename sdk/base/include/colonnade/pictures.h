#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "colonnade/value.h"

namespace colonnade {

// A text that belongs to a picture: a caption, or a question with its answer.
struct PictureText {
  std::string text;
  std::int64_t picture = 0;
  std::int64_t answer = -1;  // into Pictures::answers, -1 none
};

// Decoded pictures of one size with what is said of them (type "pictures"): tensor "pixels" u8 [count, 3, size, size]
// (red, green, blue), "labels" i32 [count] where there are classes, and the texts as bytes: "texts" u8, "text_ends"
// i64, "text_pictures" i32, "text_answers" i32, one entry a text. Normalisation is part of the set, so that whoever
// makes batches applies the right one.
struct Pictures {
  Blob pixels;
  std::vector<std::int32_t> labels;  // empty: no classes
  std::vector<std::string> classes;
  std::vector<PictureText> texts;
  std::vector<std::string> answers;
  std::vector<double> mean, deviation;  // by channel, of values in [0, 1]
  std::string split;

  std::int64_t count() const { return pixels.shape().at(0); }
  std::int64_t size() const { return pixels.shape().at(2); }
};

Field to_field(const Pictures& pictures);
Pictures pictures_from(const Field& field);  // throws Error(input) on another type or parts that do not fit one another

}  // namespace colonnade
