// Gathers pictures of one size with what is said of them.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "colonnade/op.h"
#include "colonnade/pictures.h"
#include "colonnade/registry.h"
#include "picture.h"

namespace colonnade::images {

struct Preprocessing {
  std::int64_t size = 0;    // pixels of a side
  std::int64_t resize = 0;  // of the shorter side before the crop
  Background background;
  std::vector<double> mean, deviation;

  static Preprocessing from_params(const OpContext& context);
  Picture apply(const Picture& picture) const;
};

/// The parameters that from_params reads. `background` is the default.
void declare_preprocessing(OpDeclaration& op, std::int64_t size, const char* background);

/// What could not be used, counted and, up to a number, named.
class Skips {
 public:
  /// Files below it are named from there: where a data set lies is no part of what it is.
  void lie_below(const std::string& folder);
  void add(const std::string& what, const std::string& why);
  std::int64_t count() const { return count_; }
  Json to_json() const;

 private:
  std::int64_t count_ = 0;
  std::map<std::string, std::int64_t> reasons_;
  std::vector<std::string> named_;
  std::string folder_;
};

/// One split while it is gathered.
class Collection {
 public:
  explicit Collection(const Preprocessing& preprocessing) : preprocessing_(preprocessing) {}

  /// Preprocesses a picture and returns its number.
  std::int64_t add(const Picture& picture);
  void add_text(std::string text, std::int64_t picture, std::int64_t answer = -1);
  void label(std::int32_t number) { labels_.push_back(number); }
  std::int64_t count() const { return count_; }
  bool has_texts() const { return !texts_.empty(); }
  Pictures finish(const std::string& split, const std::vector<std::string>& classes,
                  const std::vector<std::string>& answers);

 private:
  const Preprocessing& preprocessing_;
  std::int64_t count_ = 0;
  std::vector<std::uint8_t> pixels_;
  std::vector<std::int32_t> labels_;
  std::vector<PictureText> texts_;
};

inline constexpr int kSplits = 3;
inline constexpr const char* kSplitNames[kSplits] = {"train", "valid", "test"};

/// The three splits of a data set and their common names.
struct Splits {
  explicit Splits(const Preprocessing& preprocessing)
      : parts{Collection(preprocessing), Collection(preprocessing), Collection(preprocessing)} {}
  std::array<Collection, kSplits> parts;
  std::vector<std::string> classes, answers;
  Skips skips;

  /// For sets that are not published in splits: of ten neighbours one is for validation and two for test.
  Collection& by_position(std::int64_t position);
  /// A value with the fields train, valid, test and info. Throws Error(input) if all splits are empty.
  Value finish(OpContext& context, const std::string& source);
};

/// The whole file. Throws Error(input).
std::string read_file(const std::string& path);
/// The same, unpacked where it is packed by gzip.
std::string read_packed_file(const std::string& path);

/// Decodes a file's picture into `collection`; what cannot be used is a counted skip and no number.
std::optional<std::int64_t> add_file(const std::string& path, const Preprocessing& preprocessing,
                                     Collection& collection, Skips& skips);

}  // namespace colonnade::images
