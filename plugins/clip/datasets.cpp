#include "datasets.h"

#include <ATen/Functions.h>

#include <map>
#include <numeric>

#include "colonnade/error.h"

namespace colonnade::clip {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorKind::input, what);
}

Tensor numbers(const std::vector<std::int32_t>& values) {
  return at::tensor(values, at::TensorOptions().dtype(at::kInt));
}

Tensor ids_of(const std::vector<std::string>& texts, const TextRequest& request) {
  std::vector<std::int32_t> all;
  for (const std::string& text : texts) {
    const std::vector<std::int32_t> ids = request.tokenizer.encode(text, request.length);
    all.insert(all.end(), ids.begin(), ids.end());
  }
  return numbers(all).reshape({static_cast<std::int64_t>(texts.size()), request.length});
}

Examples with_pixels(const Pictures& pictures) {
  Examples examples;
  examples.rows["pixels"] = to_tensor(pictures.pixels);
  examples.scaling["pixels"] = {pictures.mean, pictures.deviation};
  examples.about = {{"split", pictures.split}};
  return examples;
}

/// Numbers of the sets that grow together where two share something.
class Groups {
 public:
  explicit Groups(std::size_t count) : parents_(count) { std::iota(parents_.begin(), parents_.end(), 0); }
  std::int32_t root(std::int32_t of) {
    while (parents_[static_cast<size_t>(of)] != of) {
      auto& parent = parents_[static_cast<size_t>(of)];
      parent = parents_[static_cast<size_t>(parent)];
      of = parent;
    }
    return of;
  }
  void join(std::int32_t a, std::int32_t b) {
    const std::int32_t low = std::min(root(a), root(b)), high = std::max(root(a), root(b));
    parents_[static_cast<size_t>(high)] = low;
  }

 private:
  std::vector<std::int32_t> parents_;
};

std::string replaced(const std::string& pattern, const std::string& mark, const std::string& by) {
  const auto at = pattern.find(mark);
  if (at == std::string::npos) refuse("the template '" + pattern + "' has no " + mark);
  return pattern.substr(0, at) + by + pattern.substr(at + mark.size());
}

}  // namespace

Examples caption_pairs(const Pictures& pictures, const TextRequest& request, const std::string& prefix) {
  if (pictures.texts.empty()) refuse("these pictures have no texts to be paired with");
  Groups groups(pictures.texts.size());
  std::map<std::int64_t, std::int32_t> of_picture;
  std::map<std::string, std::int32_t> of_text;
  std::vector<std::string> texts;
  std::vector<std::int32_t> index, group;
  for (const PictureText& text : pictures.texts) {
    const auto own = static_cast<std::int32_t>(index.size());
    groups.join(of_picture.emplace(text.picture, own).first->second, own);
    groups.join(of_text.emplace(text.text, own).first->second, own);
    texts.push_back(prefix + text.text);
    index.push_back(static_cast<std::int32_t>(text.picture));
  }
  for (std::size_t i = 0; i < index.size(); ++i) group.push_back(groups.root(static_cast<std::int32_t>(i)));
  Examples examples = with_pixels(pictures);
  examples.index["pixels"] = numbers(index);
  examples.rows["ids"] = ids_of(texts, request);
  examples.rows["groups"] = numbers(group);
  if (!prefix.empty()) examples.about["prefix"] = prefix;
  return examples;
}

Examples class_examples(const Pictures& pictures, const TextRequest& request,
                        const std::vector<std::string>& templates) {
  if (pictures.labels.empty()) refuse("these pictures have no classes");
  if (templates.empty()) refuse("no template says how a class is named");
  std::vector<std::string> texts;
  std::vector<std::int32_t> classes;
  for (std::size_t number = 0; number < pictures.classes.size(); ++number) {
    for (const std::string& pattern : templates) {
      texts.push_back(replaced(pattern, "{}", pictures.classes[number]));
      classes.push_back(static_cast<std::int32_t>(number));
    }
  }
  Examples examples = with_pixels(pictures);
  examples.rows["targets"] = numbers(pictures.labels);
  examples.shared["ids"] = ids_of(texts, request);
  examples.shared["classes"] = numbers(classes);
  examples.about["classes"] = pictures.classes;
  examples.about["templates"] = templates;
  return examples;
}

Examples question_examples(const Pictures& pictures, const TextRequest& request, const std::string& pattern) {
  std::map<std::string, std::int32_t> known;
  std::vector<std::string> questions, texts;
  std::vector<std::int32_t> index, question, targets;
  for (const PictureText& text : pictures.texts) {
    if (text.answer < 0) continue;
    const auto [found, fresh] = known.emplace(text.text, static_cast<std::int32_t>(questions.size()));
    if (fresh) questions.push_back(text.text);
    index.push_back(static_cast<std::int32_t>(text.picture));
    question.push_back(found->second);
    targets.push_back(static_cast<std::int32_t>(text.answer));
  }
  if (index.empty()) refuse("these pictures have no questions with answers");
  for (const std::string& each : questions) {
    const std::string asked = replaced(pattern, "{question}", each);
    for (const std::string& answer : pictures.answers) texts.push_back(replaced(asked, "{answer}", answer));
  }
  Examples examples = with_pixels(pictures);
  examples.index["pixels"] = numbers(index);
  examples.rows["question"] = numbers(question);
  examples.rows["targets"] = numbers(targets);
  examples.shared["ids"] = ids_of(texts, request);
  examples.about["answers"] = pictures.answers;
  examples.about["questions"] = questions;
  examples.about["template"] = pattern;
  return examples;
}

}  // namespace colonnade::clip
