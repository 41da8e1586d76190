// Data sets of pictures with texts: COCO's captions, Conceptual Captions, questions with answers.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <queue>
#include <sstream>

#include "collect.h"
#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/parse_json.h"
#include "colonnade/text.h"
#include "sets.h"

namespace colonnade::images {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostNamed = 60;  // of an entry that has no name, in bytes
constexpr const char* kOutside = "lies outside the folder of the pictures";

/// Only what lies in the folder of the pictures stands in the result's key.
bool lies_inside(const std::string& name) {
  const fs::path inner = fs::path(name).lexically_normal();
  return !inner.is_absolute() && !inner.empty() && *inner.begin() != "..";
}

Json read_json(const std::string& path) {
  return parse_json(read_file(path), path);
}

/// One annotation file into one split.
void read_coco_split(const std::string& path, const fs::path& folder, const Preprocessing& preprocessing,
                     Collection& to, Skips& skips) {
  const Json document = read_json(path);
  if (!document.is_object() || !document.value("images", Json()).is_array() ||
      !document.value("annotations", Json()).is_array()) {
    throw Error(ErrorKind::input, path + ": has no lists 'images' and 'annotations', as COCO's captions have");
  }
  std::map<std::int64_t, std::vector<std::string>> captions;
  for (const Json& each : document["annotations"]) {
    const bool good = each.is_object() && each.value("image_id", Json()).is_number_integer() &&
                      each.value("caption", Json()).is_string();
    if (!good) {
      skips.add(shortened(each.dump(), kMostNamed), "an annotation without image_id and caption");
      continue;
    }
    captions[each["image_id"].get<std::int64_t>()].push_back(each["caption"].get<std::string>());
  }
  for (const Json& each : document["images"]) {
    const bool good =
        each.is_object() && each.value("id", Json()).is_number_integer() && each.value("file_name", Json()).is_string();
    if (!good) {
      skips.add(shortened(each.dump(), kMostNamed), "an image without id and file_name");
      continue;
    }
    const auto found = captions.find(each["id"].get<std::int64_t>());
    const std::string name = each["file_name"].get<std::string>();
    if (found == captions.end()) {
      skips.add(name, "no caption");
      continue;
    }
    if (!lies_inside(name)) {
      skips.add(name, kOutside);
      captions.erase(found);
      continue;
    }
    if (const auto number = add_file((folder / name).string(), preprocessing, to, skips)) {
      for (std::string& caption : found->second) to.add_text(std::move(caption), *number);
    }
    captions.erase(found);
  }
  for (const auto& [id, texts] : captions)
    skips.add("captions of image " + std::to_string(id), "no such image in the list");
}

Value read_coco(OpContext& context) {
  const Preprocessing preprocessing = Preprocessing::from_params(context);
  Splits splits(preprocessing);
  splits.skips.lie_below(context.param<std::string>("pictures"));
  const char* const parameters[kSplits] = {"train", "valid", "test"};
  std::string source;
  for (int i = 0; i < kSplits; ++i) {
    if (!context.has_param(parameters[i])) continue;
    source = context.param<std::string>(parameters[i]);
    read_coco_split(source, context.param<std::string>("pictures"), preprocessing, splits.parts[static_cast<size_t>(i)],
                    splits.skips);
  }
  if (source.empty()) throw Error(ErrorKind::usage, "none of train, valid and test names a file of captions");
  return splits.finish(context, source);
}

/// A line of a caption file that may be kept.
struct Row {
  std::int64_t line;
  double score;
  std::string caption, file;
};

/// Reads line by line and keeps no more than `best` rows, those of the highest scores, in their order.
class RowFilter {
 public:
  RowFilter(std::string path, std::string split, std::optional<double> above, std::size_t best, Skips& skips)
      : path_(std::move(path)), split_(std::move(split)), above_(above), best_(best), skips_(skips) {}

  std::vector<Row> rows() {
    std::ifstream stream(path_, std::ios::binary);
    if (!stream) throw Error(ErrorKind::input, path_ + ": cannot be opened");
    std::string line;
    for (std::int64_t number = 1; std::getline(stream, line); ++number) take(line, number);
    std::vector<Row> kept;
    for (; !queue_.empty(); queue_.pop()) kept.push_back(queue_.top());
    std::sort(kept.begin(), kept.end(), [](const Row& a, const Row& b) { return a.line < b.line; });
    return kept;
  }
  std::int64_t filtered() const { return filtered_; }

 private:
  struct Better {
    bool operator()(const Row& a, const Row& b) const {
      return a.score != b.score ? a.score > b.score : a.line < b.line;
    }
  };

  void take(std::string& line, std::int64_t number) {
    if (line.ends_with('\r')) line.pop_back();
    const std::string where = split_ + ", line " + std::to_string(number);
    const auto first = line.find('\t');
    const auto second = first == std::string::npos ? first : line.find('\t', first + 1);
    if (first == std::string::npos || first == 0 || first + 1 == std::min(second, line.size())) {
      skips_.add(where, "not a caption, a tab and a file");
      return;
    }
    Row row{number, 0, line.substr(0, first),
            line.substr(first + 1, second == std::string::npos ? second : second - first - 1)};
    if (!lies_inside(row.file)) {
      skips_.add(where, kOutside);
      return;
    }
    if (second != std::string::npos) {
      char* end = nullptr;
      row.score = std::strtod(line.c_str() + second + 1, &end);
      if (end == line.c_str() + second + 1 || *end != '\0' || !std::isfinite(row.score)) {
        skips_.add(where, "a score that is no number");
        return;
      }
    } else if (above_) {
      skips_.add(where, "no score, but scores are asked for");
      return;
    }
    if (above_ && row.score <= *above_) {
      ++filtered_;
      return;
    }
    queue_.push(std::move(row));
    if (queue_.size() <= best_) return;
    queue_.pop();
    ++filtered_;
  }

  std::string path_, split_;
  std::optional<double> above_;
  std::size_t best_;
  Skips& skips_;
  std::priority_queue<Row, std::vector<Row>, Better> queue_;
  std::int64_t filtered_ = 0;
};

Value read_conceptual(OpContext& context) {
  const Preprocessing preprocessing = Preprocessing::from_params(context);
  Splits splits(preprocessing);
  std::optional<double> above;
  if (context.has_param("above")) above = context.param<double>("above");
  const auto best = static_cast<std::size_t>(context.param<std::int64_t>("best"));
  const fs::path folder = context.param<std::string>("pictures");
  splits.skips.lie_below(folder.string());
  std::int64_t filtered = 0;
  std::string source;
  for (int i = 0; i < kSplits; ++i) {
    if (!context.has_param(kSplitNames[i])) continue;
    source = context.param<std::string>(kSplitNames[i]);
    RowFilter filter(source, kSplitNames[i], above, best, splits.skips);
    Collection& to = splits.parts[static_cast<size_t>(i)];
    std::map<std::string, std::int64_t> known;  // a picture on several lines is one with several captions
    for (Row& row : filter.rows()) {
      const std::string name = fs::path(row.file).lexically_normal().string();
      auto found = known.find(name);
      if (found == known.end()) {
        const auto number = add_file((folder / row.file).string(), preprocessing, to, splits.skips);
        if (!number) continue;
        found = known.emplace(name, *number).first;
      }
      to.add_text(std::move(row.caption), found->second);
    }
    filtered += filter.filtered();
  }
  if (source.empty()) throw Error(ErrorKind::usage, "none of train, valid and test names a file of captions");
  Value value = splits.finish(context, source);
  value.fields.at("info").document["filtered"] = filtered;
  return value;
}

/// questions.json, a list of [question, answer, picture], and the folder images beside it. With `held_out` every tenth
/// picture goes there.
void read_questions_split(const fs::path& folder, std::int64_t limit, const Preprocessing& preprocessing,
                          Splits& splits, Collection& most, Collection* held_out) {
  constexpr std::size_t kValidation = 10;
  struct Place {
    Collection* split;
    std::optional<std::int64_t> number;
  };
  const std::string path = (folder / "questions.json").string();
  const Json document = read_json(path);
  if (!document.is_array()) throw Error(ErrorKind::input, path + ": is not a list of questions");
  std::map<std::int64_t, Place> pictures;
  for (const Json& each : document) {
    const bool good = each.is_array() && each.size() == 3 && each[0].is_string() && each[1].is_string() &&
                      each[2].is_number_integer();
    if (!good) {
      splits.skips.add(shortened(each.dump(), kMostNamed), "not a question, an answer and the number of a picture");
      continue;
    }
    const auto answer = std::find(splits.answers.begin(), splits.answers.end(), each[1].get<std::string>());
    if (answer == splits.answers.end()) {
      splits.skips.add(each[0].get<std::string>(), "its answer is none of answers.txt");
      continue;
    }
    const auto id = each[2].get<std::int64_t>();
    if (!pictures.contains(id)) {
      if (static_cast<std::int64_t>(pictures.size()) >= limit) continue;
      Collection& to = held_out != nullptr && pictures.size() % kValidation == kValidation - 1 ? *held_out : most;
      const std::string file = (folder / "images" / (std::to_string(id) + ".png")).string();
      pictures[id] = {&to, add_file(file, preprocessing, to, splits.skips)};
    }
    const Place& place = pictures[id];
    if (place.number) place.split->add_text(each[0].get<std::string>(), *place.number, answer - splits.answers.begin());
  }
}

Value read_questions(OpContext& context) {
  const Preprocessing preprocessing = Preprocessing::from_params(context);
  const fs::path folder = context.param<std::string>("path");
  Splits splits(preprocessing);
  splits.skips.lie_below(folder.string());
  std::istringstream lines(read_file((folder / "answers.txt").string()));
  std::string answer;
  while (std::getline(lines, answer)) {
    if (answer.ends_with('\r')) answer.pop_back();
    if (!answer.empty()) splits.answers.push_back(answer);
  }
  Collection* const held_out = fs::is_directory(folder / kSplitNames[1]) ? nullptr : &splits.parts[1];
  for (std::size_t i = 0; i < kSplits; ++i) {
    if (fs::is_directory(folder / kSplitNames[i])) {
      read_questions_split(folder / kSplitNames[i], context.param<std::int64_t>("limit"), preprocessing, splits,
                           splits.parts[i], i == 0 ? held_out : nullptr);
    }
  }
  return splits.finish(context, folder.string());
}

void declare_files(OpDeclaration& op, const char* what) {
  for (const char* split : kSplitNames)
    op.param(path(split, std::string(what) + " of the " + split + " split").optional());
}

}  // namespace

void declare_captions(Registrar& registrar) {
  constexpr std::int64_t kPublished = 224, kSmall = 64, kBest = 500000, kMany = 1000000;
  OpDeclaration& coco = declare_set(registrar, "coco");
  coco.doc(
          "Reads pictures with captions as MS-COCO lays them out.\n"
          "Files of captions list images (id, file_name) and annotations (image_id, caption). Pictures that are "
          "missing or "
          "damaged, lie outside their folder, or have no caption, are skipped and counted.")
      .example(
          "local coco = col.coco { train = col.setting(\"coco.train\"), pictures = col.setting(\"coco.pictures\") }");
  declare_files(coco, "captions, JSON,");
  coco.param(path("pictures", "the folder of the pictures"));
  declare_preprocessing(coco, kPublished, "none");
  coco.run(read_coco);

  OpDeclaration& conceptual = declare_set(registrar, "conceptual");
  conceptual
      .doc(
          "Reads pictures with captions as Conceptual Captions lists them, and filters them by score.\n"
          "A line is a caption, a tab, the picture's file, and maybe a tab and a score: 2.5 max(cosine, 0) of picture "
          "and "
          "caption under a scorer, say. Lines of the same file are captions of one picture. Lines are read one by one; "
          "no more than the `best` are held. Broken lines and pictures are skipped and counted.")
      .example(
          "local pairs = col.conceptual { train = col.setting(\"cc.train_file\"), pictures = "
          "col.setting(\"cc.folder\"), above = 0.7 }");
  declare_files(conceptual, "the list, TSV,");
  conceptual.param(path("pictures", "the folder that the files are named in"))
      .param(real("above", "take only pairs whose score is above this").optional())
      .param(
          integer("best", "take at most so many, those of the highest scores").range(1, std::nullopt).fall_back(kBest));
  declare_preprocessing(conceptual, kPublished, "none");
  conceptual.run(read_conceptual);

  OpDeclaration& vqa = declare_set(registrar, "vqa");
  vqa.doc(
         "Reads pictures with questions and answers as easy-vqa lays them out.\n"
         "answers.txt, and for each split a folder with questions.json, a list of question, answer and number of the "
         "picture, "
         "beside a folder images. Without a folder valid one in ten of the training pictures is for validation.")
      .example("local vqa = col.vqa { path = col.setting(\"vqa.path\"), limit = 500 }")
      .param(path("path", "the folder that holds answers.txt, train and test"))
      .param(integer("limit", "take at most so many pictures of a folder").range(1, std::nullopt).fall_back(kMany));
  declare_preprocessing(vqa, kSmall, "none");
  vqa.run(read_questions);
}

}  // namespace colonnade::images
