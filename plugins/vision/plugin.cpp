// Measures of models of pictures and texts, on examples; any model that gives embeddings will do.
#include <ATen/Functions.h>

#include <algorithm>

#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "embed.h"
#include "filter.h"
#include "measures.h"

namespace colonnade::vision {
namespace {

constexpr std::int64_t kBatch = 64;

struct Subject {
  explicit Subject(OpContext& context, const char* role = "model")
      : model(Model::from_field(context.input(role))), data(examples_from(context.input("data"))) {}
  Model model;
  Examples data;
};

/// Share of ranks below `k`, in percent.
Field share_below(const Tensor& of_ranks, std::int64_t k) {
  constexpr double kPercent = 100;
  return to_field(mean_of(to_vector(of_ranks.lt(k).to(at::kDouble) * kPercent), "%", Better::higher));
}

/// Embeddings of classes: the mean of those of their texts, of length 1 again.
Tensor class_embeddings(const Model& model, const Examples& data, std::int64_t batch) {
  const Tensor texts = text_embeddings(model, data.shared.at("ids"), batch);
  const Tensor classes = data.shared.at("classes").to(at::kLong);
  const Tensor sums = at::zeros({classes.max().item<std::int64_t>() + 1, texts.size(1)}, texts.options());
  const Tensor means = sums.index_add(0, classes, texts);
  return means / means.norm(2, {-1}, true);
}

Value zero_shot(OpContext& context) {
  const Subject subject(context);
  require_examples(subject.data, {"pixels", "targets"}, {"ids", "classes"}, "'classes'");
  const Tensor pictures =
      by_example(picture_embeddings(subject.model, subject.data, kBatch, context), subject.data, "pixels");
  const Tensor scores = at::matmul(pictures, class_embeddings(subject.model, subject.data, kBatch).t());
  const Tensor targets = subject.data.rows.at("targets").to(at::kLong);
  const Tensor found = ranks(scores, targets);
  constexpr std::int64_t kFew = 5;
  Table table;
  table.add_column("class", "text");
  table.add_column("pictures", "integer");
  table.add_column("top1", "real", "%");
  const Json& names = subject.data.about.at("classes");
  for (std::int64_t number = 0; number < scores.size(1); ++number) {
    const Tensor own = found.masked_select(targets.eq(number));
    constexpr double kPercent = 100;
    const Json share = own.numel() > 0 ? Json(own.eq(0).to(at::kDouble).mean().item<double>() * kPercent) : Json();
    table.add_row({names.at(static_cast<std::size_t>(number)), own.numel(), share});
  }
  Value value;
  value.fields["top1"] = share_below(found, 1);
  value.fields["top5"] = share_below(found, kFew);
  value.fields["by_class"] = to_field(table);
  value.fields["templates"] = record_field({{"templates", subject.data.about.value("templates", Json::array())}});
  return value;
}

Value retrieval(OpContext& context) {
  const Subject subject(context);
  require_examples(subject.data, {"pixels", "ids"}, {}, "'pairs'");
  const Tensor pictures = picture_embeddings(subject.model, subject.data, kBatch, context);
  const Tensor texts =
      by_example(text_embeddings(subject.model, subject.data.rows.at("ids"), kBatch), subject.data, "ids");
  const auto index = subject.data.index.find("pixels");
  const Tensor owners = index == subject.data.index.end()
                            ? at::arange(texts.size(0), at::TensorOptions().dtype(at::kLong))
                            : index->second.to(at::kLong);
  // What pictures no text speaks of cannot be found, but are in the way.
  const Tensor right = owners.reshape({-1, 1}).eq(at::arange(pictures.size(0), owners.options()).reshape({1, -1}));
  const Tensor scores = at::matmul(texts, pictures.t());
  const Tensor of_texts = best_ranks(scores, right);
  const Tensor spoken_of = right.any(0).nonzero().squeeze(1);
  const Tensor of_pictures = best_ranks(scores.t().index_select(0, spoken_of), right.t().index_select(0, spoken_of));
  Value value;
  for (const std::int64_t k : {1, 5, 10}) {
    value.fields["picture_r" + std::to_string(k)] = share_below(of_texts, k);
    value.fields["text_r" + std::to_string(k)] = share_below(of_pictures, k);
  }
  return value;
}

Value answers(OpContext& context) {
  const Subject subject(context);
  require_examples(subject.data, {"pixels", "question", "targets"}, {"ids"}, "'questions'");
  const Tensor pictures =
      by_example(picture_embeddings(subject.model, subject.data, kBatch, context), subject.data, "pixels");
  const auto choices = static_cast<std::int64_t>(subject.data.about.at("answers").size());
  const Tensor texts =
      text_embeddings(subject.model, subject.data.shared.at("ids"), kBatch).reshape({-1, choices, pictures.size(1)});
  const Tensor own = texts.index_select(0, subject.data.rows.at("question").to(at::kLong));
  const Tensor scores = at::bmm(own, pictures.unsqueeze(-1)).squeeze(-1);
  Value value;
  value.fields["accuracy"] = share_below(ranks(scores, subject.data.rows.at("targets").to(at::kLong)), 1);
  return value;
}

/// Pairs' own cosines under a model.
Tensor pair_cosines(const Model& model, const Examples& data, OpContext& context) {
  const Tensor pictures = by_example(picture_embeddings(model, data, kBatch, context), data, "pixels");
  return (pictures * by_example(text_embeddings(model, data.rows.at("ids"), kBatch), data, "ids")).sum(1);
}

Value clip_score(OpContext& context) {
  const Subject subject(context, "scorer");
  require_examples(subject.data, {"pixels", "ids"}, {}, "'pairs'");
  Value value;
  value.fields["score"] =
      to_field(mean_of(to_vector(clip_scores(pair_cosines(subject.model, subject.data, context))), "", Better::higher));
  return value;
}

void require_same_pairs(const Examples& scored, const Examples& data) {
  require_examples(scored, {"pixels", "ids"}, {}, "'pairs'");
  if (scored.count() == data.count() && scored.rows.at("pixels").size(0) == data.rows.at("pixels").size(0)) return;
  throw Error(ErrorKind::input, "'scored' has " + std::to_string(scored.count()) + " pairs and 'data' " +
                                    std::to_string(data.count()) + "; they must be the same pairs for both models");
}

Value filter(OpContext& context) {
  const Examples data = examples_from(context.input("data"));
  require_examples(data, {"pixels", "ids"}, {}, "'pairs'");
  const Examples scored = examples_from(context.input("scored"));
  require_same_pairs(scored, data);
  const Model scorer = Model::from_field(context.input("scorer"));
  const std::vector<double> scores = to_vector(clip_scores(pair_cosines(scorer, scored, context)));
  const auto above = context.param<double>("above");
  const std::vector<std::int64_t> chosen = highest(scores, above, context.param<std::int64_t>("best"));
  if (chosen.empty()) {
    throw Error(ErrorKind::input, "no pair scores above " + std::to_string(above) + ": the highest of " +
                                      std::to_string(scores.size()) + " scores is " +
                                      std::to_string(*std::max_element(scores.begin(), scores.end())));
  }
  constexpr double kPercent = 100;
  std::vector<double> kept(scores.size(), 0);
  for (const std::int64_t example : chosen) kept[static_cast<std::size_t>(example)] = kPercent;
  Value value;
  value.fields["examples"] = to_field(subset(data, chosen));
  value.fields["kept"] = to_field(mean_of(kept, "%", Better::higher));
  value.fields["score"] = to_field(mean_of(scores, "", Better::higher));
  return value;
}

/// For each picture the caption, of all the set's, that the model finds nearest: [pictures] numbers of examples.
Tensor chosen_captions(const Model& model, const Examples& data, OpContext& context) {
  const Tensor pictures = picture_embeddings(model, data, kBatch, context);
  const Tensor texts = by_example(text_embeddings(model, data.rows.at("ids"), kBatch), data, "ids");
  return at::matmul(pictures, texts.t()).argmax(1);
}

Value captions(OpContext& context) {
  const Subject subject(context);
  require_examples(subject.data, {"pixels", "ids"}, {}, "'pairs'");
  const Tensor chosen = chosen_captions(subject.model, subject.data, context);
  const Tensor owners =
      by_example(at::arange(subject.data.rows.at("pixels").size(0), chosen.options()), subject.data, "pixels");
  const Tensor own = owners.index_select(0, chosen).eq(at::arange(chosen.numel(), chosen.options()));
  constexpr double kPercent = 100;
  Value value;
  value.fields["own"] = to_field(mean_of(to_vector(own.to(at::kDouble) * kPercent), "%", Better::higher));
  const Model scorer = Model::from_field(context.input("scorer"));
  const Examples seen = examples_from(context.input("scored"));
  require_same_pairs(seen, subject.data);
  const Tensor texts = by_example(text_embeddings(scorer, seen.rows.at("ids"), kBatch), seen, "ids");
  const Tensor cosines = (picture_embeddings(scorer, seen, kBatch, context) * texts.index_select(0, chosen)).sum(1);
  value.fields["score"] = to_field(mean_of(to_vector(clip_scores(cosines)), "", Better::higher));
  return value;
}

OpDeclaration& declare(Registrar& registrar, const char* name, const char* made_by) {
  return registrar.op(name).input("model", "model", "what is measured").input("data", "examples", made_by);
}

void declare_matching(Registrar& registrar) {
  declare(registrar, "zero_shot", "pictures with classes, from `classes`")
      .doc(
          "Classifies pictures by the nearest text of a class.\n"
          "A class is the mean of its templates' embeddings, brought to length 1 again. Of equal scores the worse rank "
          "holds.")
      .example("local digits = model:zero_shot { data = classes }")
      .output("top1", "scalar", "pictures whose class is the nearest")
      .output("top5", "scalar", "pictures whose class is among the five nearest")
      .output("by_class", "table", "pictures and share by class")
      .output("templates", "record", "the texts that named the classes, {} the name")
      .any_device()
      .run(zero_shot);
  OpDeclaration& op = declare(registrar, "retrieval", "pairs, from `pairs`");
  op.doc(
        "Finds pictures by their captions, and captions by their pictures, among all of the data.\n"
        "R@k is the share of queries for which something right is among the k nearest. Of equal scores the worse rank "
        "holds.")
      .example("local found = model:retrieval { data = emoji.test:pairs { tokenizer = tokenizer } }");
  for (const char* k : {"1", "5", "10"}) {
    op.output(std::string("picture_r") + k, "scalar",
              std::string("captions whose picture is among the ") + k + " nearest");
    op.output(std::string("text_r") + k, "scalar",
              std::string("pictures one of whose captions is among the ") + k + " nearest");
  }
  op.any_device().run(retrieval);
  declare(registrar, "answers", "questions, from `questions`")
      .doc(
          "Answers questions by the answer whose text is nearest to the picture.\n"
          "The model does not write: it chooses among all answers of the data, so this is matching, not open "
          "answering.")
      .example("local vqa = model:answers { data = questions }")
      .output("accuracy", "scalar", "questions answered rightly")
      .any_device()
      .run(answers);
}

void declare_scores(Registrar& registrar) {
  registrar.op("clip_score")
      .doc(
          "Scores captions by a frozen model: 2.5 max(cosine, 0) of picture and caption.\n"
          "After Hessel et al., CLIPScore: A Reference-free Evaluation Metric for Image Captioning, 2021, who put \"A "
          "photo "
          "depicts \" before every caption: give that prefix to `pairs`. The scorer must not be the model under test, "
          "or a "
          "model that changed with it.")
      .example("local score = scorer:clip_score { data = pairs }")
      .input("scorer", "model", "the frozen model that scores")
      .input("data", "examples", "pairs, from `pairs`, by the scorer's tokenizer")
      .output("score", "scalar", "the mean score")
      .any_device()
      .run(clip_score);
  declare(registrar, "captions", "pairs, from `pairs`")
      .doc(
          "Gives every picture the nearest of all captions, and scores the choice by a frozen other model.\n"
          "Stands in for writing captions, which such models cannot. `scored` are the same pairs for the scorer: its "
          "tokenizer, and the prefix \"A photo depicts \".")
      .example("local chosen = model:captions { data = pairs, scorer = other, scored = prefixed }")
      .input("scorer", "model", "the frozen model that scores")
      .input("scored", "examples", "the same pairs as the scorer reads them")
      .output("own", "scalar", "pictures that are given a caption of their own")
      .output("score", "scalar", "CLIPScore of the chosen captions")
      .any_device()
      .run(captions);
}

void declare_filter(Registrar& registrar) {
  registrar.op("filter")
      .doc(
          "Keeps the pairs that a frozen model scores highest: 2.5 max(cosine, 0) of picture and caption.\n"
          "What Conceptual Captions are cleaned by before training. `scored` are the same pairs for the scorer: its "
          "tokenizer, and the prefix \"A photo depicts \". Of equal scores the first are kept; pairs stay in their "
          "order, and pictures without a caption go.")
      .example("local clean = pairs:filter { scorer = other, scored = prefixed, above = 0.7 }")
      .input("data", "examples", "pairs, from `pairs`")
      .input("scorer", "model", "the frozen model that scores")
      .input("scored", "examples", "the same pairs as the scorer reads them")
      .param(real("above", "keep only pairs whose score is above this").fall_back(0.7))
      .param(integer("best", "keep at most so many, those of the highest scores")
                 .range(1, std::nullopt)
                 .fall_back(500'000))
      .output("examples", "examples", "the pairs that are kept")
      .output("kept", "scalar", "share of the pairs that are kept")
      .output("score", "scalar", "the mean score of all")
      .run(filter);
}

void register_plugin(Registrar& registrar) {
  declare_matching(registrar);
  declare_filter(registrar);
  declare_scores(registrar);
}

}  // namespace
}  // namespace colonnade::vision

COLONNADE_PLUGIN(colonnade::vision::register_plugin);
