// Data sets of pictures with classes: folders, CIFAR's binaries, scikit-learn's digits.
#include <algorithm>
#include <filesystem>
#include <sstream>

#include "collect.h"
#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "sets.h"

namespace colonnade::images {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> sorted_entries(const fs::path& folder, bool folders) {
  std::vector<fs::path> entries;
  std::error_code problem;
  for (const auto& entry : fs::directory_iterator(folder, problem)) {
    if (entry.is_directory() == folders) entries.push_back(entry.path());
  }
  if (problem) throw Error(ErrorKind::input, folder.string() + ": cannot be listed: " + problem.message());
  std::sort(entries.begin(), entries.end());
  return entries;
}

std::int32_t class_number(Splits& splits, const std::string& name) {
  const auto found = std::find(splits.classes.begin(), splits.classes.end(), name);
  if (found != splits.classes.end()) return static_cast<std::int32_t>(found - splits.classes.begin());
  splits.classes.push_back(name);
  return static_cast<std::int32_t>(splits.classes.size() - 1);
}

/// "tench_fish" as it would stand in a sentence.
std::string spoken(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

/// The folders of classes below `folder`; `split` -1: split by position.
void read_classes(const fs::path& folder, int split, const Preprocessing& preprocessing, Splits& splits) {
  for (const fs::path& each : sorted_entries(folder, true)) {
    const std::int32_t number = class_number(splits, spoken(each.filename().string()));
    const std::vector<fs::path> files = sorted_entries(each, false);
    if (files.empty()) splits.skips.add(each.string(), "the class has no file");
    for (std::size_t i = 0; i < files.size(); ++i) {
      Collection& to =
          split < 0 ? splits.by_position(static_cast<std::int64_t>(i)) : splits.parts[static_cast<size_t>(split)];
      if (add_file(files[i].string(), preprocessing, to, splits.skips)) to.label(number);
    }
  }
}

Value read_folder(OpContext& context) {
  const Preprocessing preprocessing = Preprocessing::from_params(context);
  const fs::path folder = context.param<std::string>("path");
  const std::pair<const char*, int> names[] = {{"train", 0}, {"val", 1}, {"valid", 1}, {"validation", 1}, {"test", 2}};
  Splits splits(preprocessing);
  splits.skips.lie_below(folder.string());
  bool published = false;
  for (const auto& [name, split] : names) {
    if (!fs::is_directory(folder / name)) continue;
    published = true;
    read_classes(folder / name, split, preprocessing, splits);
  }
  if (!published) read_classes(folder, -1, preprocessing, splits);
  if (splits.classes.empty()) {
    throw Error(ErrorKind::input,
                folder.string() + ": has no folders of classes, nor train, val and test with such folders");
  }
  return splits.finish(context, folder.string());
}

constexpr std::int64_t kCifarSide = 32;
constexpr std::size_t kCifarPlane = kCifarSide * kCifarSide;
constexpr std::size_t kCifarBytes = 3 * kCifarPlane;

void read_cifar_file(const fs::path& path, std::size_t labels, Splits& splits, Collection* whole) {
  const std::string bytes = read_file(path.string());
  const std::size_t record = labels + kCifarBytes;
  if (bytes.size() % record != 0) {
    throw Error(ErrorKind::input, path.string() + ": has " + std::to_string(bytes.size()) +
                                      " bytes, which are no whole records of " + std::to_string(record));
  }
  for (std::size_t i = 0; i * record < bytes.size(); ++i) {
    const std::string_view data = std::string_view(bytes).substr(i * record, record);
    const auto label = static_cast<std::uint8_t>(data[labels - 1]);
    if (label >= splits.classes.size()) {
      splits.skips.add(path.string() + ", record " + std::to_string(i + 1), "a label without a name");
      continue;
    }
    Picture picture{kCifarSide, kCifarSide, std::vector<std::uint8_t>(kCifarBytes)};
    for (std::size_t at = 0; at < kCifarBytes; ++at) {
      picture.pixels[at % kCifarPlane * 3 + at / kCifarPlane] = static_cast<std::uint8_t>(data[labels + at]);
    }
    // One in ten of the training pictures is for validation: these sets have none.
    constexpr std::size_t kValidation = 10;
    Collection& to = whole != nullptr ? *whole : splits.parts[i % kValidation == 0 ? 1 : 0];
    to.add(picture);
    to.label(label);
  }
}

Value read_cifar(OpContext& context) {
  const Preprocessing preprocessing = Preprocessing::from_params(context);
  const fs::path folder = context.param<std::string>("path");
  const bool ten = fs::exists(folder / "batches.meta.txt");
  const fs::path names = folder / (ten ? "batches.meta.txt" : "fine_label_names.txt");
  if (!fs::exists(names)) {
    throw Error(ErrorKind::input,
                folder.string() +
                    ": has neither batches.meta.txt nor fine_label_names.txt, one of which the binary "
                    "versions of CIFAR-10 and CIFAR-100 have");
  }
  Splits splits(preprocessing);
  splits.skips.lie_below(folder.string());
  std::istringstream lines(read_file(names.string()));
  std::string name;
  while (std::getline(lines, name)) {
    if (name.ends_with('\r')) name.pop_back();
    if (!name.empty()) splits.classes.push_back(spoken(name));
  }
  const std::size_t labels = ten ? 1 : 2;
  if (ten) {
    constexpr int kBatches = 5;
    for (int i = 1; i <= kBatches; ++i) {
      read_cifar_file(folder / ("data_batch_" + std::to_string(i) + ".bin"), labels, splits, nullptr);
    }
  } else {
    read_cifar_file(folder / "train.bin", labels, splits, nullptr);
  }
  read_cifar_file(folder / (ten ? "test_batch.bin" : "test.bin"), labels, splits, &splits.parts[2]);
  return splits.finish(context, folder.string());
}

constexpr std::int64_t kDigitSide = 8;
constexpr int kDigitLevels = 16;

/// 64 levels from 0 to 16 and the digit; nothing if the line is broken.
std::optional<std::pair<Picture, std::int32_t>> parse_digit(const std::string& line) {
  std::istringstream cells(line);
  std::string cell;
  std::vector<double> values;
  try {
    while (std::getline(cells, cell, ',')) values.push_back(std::stod(cell));
  } catch (const std::exception&) {
    return std::nullopt;
  }
  constexpr std::size_t kPixels = kDigitSide * kDigitSide;
  constexpr int kClasses = 10, kWhite = 255;
  if (values.size() != kPixels + 1 || values.back() < 0 || values.back() >= kClasses) return std::nullopt;
  Picture picture{kDigitSide, kDigitSide, {}};
  for (std::size_t i = 0; i < kPixels; ++i) {
    if (!(values[i] >= 0 && values[i] <= kDigitLevels)) return std::nullopt;
    picture.pixels.insert(picture.pixels.end(), 3, static_cast<std::uint8_t>(values[i] * kWhite / kDigitLevels + 0.5));
  }
  return std::pair{std::move(picture), static_cast<std::int32_t>(values.back())};
}

Value read_digits(OpContext& context) {
  const Preprocessing preprocessing = Preprocessing::from_params(context);
  const auto path = context.param<std::string>("path");
  Splits splits(preprocessing);
  splits.classes = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"};
  std::istringstream lines(read_packed_file(path));
  std::string line;
  for (std::int64_t number = 0; std::getline(lines, line); ++number) {
    const auto digit = parse_digit(line);
    if (!digit) {
      splits.skips.add("line " + std::to_string(number + 1), "not 64 levels from 0 to 16 and a digit");
      continue;
    }
    Collection& to = splits.by_position(number);
    to.add(digit->first);
    to.label(digit->second);
  }
  return splits.finish(context, path);
}

}  // namespace

void declare_classes(Registrar& registrar) {
  constexpr std::int64_t kPublished = 224, kSmall = 32;
  OpDeclaration& folder = declare_set(registrar, "folder");
  folder
      .doc(
          "Reads pictures from a folder for each class.\n"
          "With folders train, val (valid, validation) and test the classes lie below these; otherwise of ten "
          "neighbours in "
          "a class, by name, seven are for training, one for validation, two for test. The names of the folders are "
          "the "
          "names of the classes, _ being a blank. What is no PNG or JPEG, or damaged, is skipped and counted.")
      .example("local data = col.op \"images/folder\" { path = col.setting(\"pictures.path\"), size = 224 }")
      .param(path("path", "the folder"));
  declare_preprocessing(folder, kPublished, "none");
  folder.run(read_folder);

  OpDeclaration& cifar = declare_set(registrar, "cifar");
  cifar
      .doc(
          "Reads the binary version of CIFAR-10 or CIFAR-100 (fine labels).\n"
          "One in ten of the training pictures is for validation.")
      .example("local data = col.cifar { path = col.setting(\"cifar.path\") }")
      .param(path("path", "the folder that holds data_batch_1.bin or train.bin"));
  declare_preprocessing(cifar, kSmall, "none");
  cifar.run(read_cifar);

  OpDeclaration& digits = declare_set(registrar, "digits");
  digits
      .doc(
          "Reads scikit-learn's handwritten digits.\n"
          "1,797 pictures of 8 by 8 with 17 levels, white on black; of ten neighbours seven are for training, one for "
          "validation, two for test. Classes are named zero to nine.")
      .example("local digits = col.digits { path = col.setting(\"digits.path\") }")
      .param(path("path", "digits.csv or digits.csv.gz"));
  declare_preprocessing(digits, kSmall, "none");
  digits.run(read_digits);
}

}  // namespace colonnade::images
