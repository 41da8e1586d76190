// The ops that turn texts into ids: the tokenizer, and data sets of examples from pictures with texts.
#include "colonnade/colonnade.h"
#include "datasets.h"
#include "ops.h"
#include "vocabulary.h"

namespace colonnade::clip {
namespace {

constexpr std::int64_t kByteTokens = 514;
constexpr std::int64_t kPublishedLength = 77;

Value make_tokenizer(OpContext& context) {
  Vocabulary vocabulary;
  const bool learn = context.has_param("size") && context.param<std::int64_t>("size") > kByteTokens;
  if (context.has_param("path")) {
    if (learn) throw Error(ErrorKind::usage, "'path' and 'size' exclude each other: a vocabulary is read or learnt");
    vocabulary = read_vocabulary(context.param<std::string>("path"));
  } else if (learn) {
    if (!context.has_input("captions")) {
      throw Error(ErrorKind::usage, "a vocabulary larger than " + std::to_string(kByteTokens) +
                                        " is learnt from the input 'captions', which is missing");
    }
    std::vector<std::string> texts;
    for (const PictureText& text : pictures_from(context.input("captions")).texts) texts.push_back(text.text);
    vocabulary = learn_vocabulary(texts, context.param<std::int64_t>("size"));
  } else {
    vocabulary = byte_vocabulary();
  }
  const Tokenizer tokenizer(std::move(vocabulary));
  Value value;
  value.fields["tokenizer"] = to_field(tokenizer);
  value.fields["info"] = record_field({{"size", tokenizer.size()},
                                       {"merges", tokenizer.vocabulary().merges.size()},
                                       {"start_token", tokenizer.start_token()},
                                       {"end_token", tokenizer.end_token()}});
  return value;
}

TextRequest request_of(const OpContext& context, const Tokenizer& tokenizer) {
  return {tokenizer, context.param<std::int64_t>("length")};
}

Value examples_value(const Examples& examples) {
  Value value;
  value.fields["examples"] = to_field(examples);
  return value;
}

Value make_pairs(OpContext& context) {
  const Tokenizer tokenizer = tokenizer_from(context.input("tokenizer"));
  return examples_value(caption_pairs(pictures_from(context.input("pictures")), request_of(context, tokenizer),
                                      context.param<std::string>("prefix")));
}

Value make_classes(OpContext& context) {
  const Tokenizer tokenizer = tokenizer_from(context.input("tokenizer"));
  return examples_value(class_examples(pictures_from(context.input("pictures")), request_of(context, tokenizer),
                                       context.param<std::vector<std::string>>("templates")));
}

Value make_questions(OpContext& context) {
  const Tokenizer tokenizer = tokenizer_from(context.input("tokenizer"));
  return examples_value(question_examples(pictures_from(context.input("pictures")), request_of(context, tokenizer),
                                          context.param<std::string>("template")));
}

OpDeclaration& declare_examples(Registrar& registrar, const char* name) {
  return registrar.op(name)
      .input("pictures", "pictures", "pictures with what is said of them")
      .input("tokenizer", kTokenizerType, "what makes ids of texts")
      .output("examples", "examples", "what a model is trained or measured on")
      .param(integer("length", "most tokens of a text, start and end included; a longer one is cut")
                 .range(2, std::nullopt)
                 .fall_back(kPublishedLength));
}

void declare_tokenizer(Registrar& registrar) {
  registrar.op("tokenizer")
      .doc(
          "Makes CLIP's tokenizer: published, learnt from captions, or of single bytes.\n"
          "Texts are composed (NFC), white space runs become one blank, letters lower case; words are contractions, "
          "runs "
          "of letters, single numbers, and runs of anything else; within words byte pairs are merged by rank, the last "
          "byte of a word being a token of its own kind. With `path` the vocabulary is read from tokenizer.json, "
          "vocab.json with merges.txt, or the authors' bpe_simple_vocab_16e6.txt. With `size` above 514 it is learnt: "
          "again and again the most frequent pair becomes a token. Otherwise its tokens are the bytes.")
      .example("local tokenizer = emoji.train:tokenizer { size = 1500 }")
      .optional_input("captions", "pictures", "the texts a vocabulary is learnt from")
      .output("tokenizer", kTokenizerType, "what makes ids of texts")
      .output("info", "record", "size, merges, the ids of start and end")
      .param(path("path", "the published vocabulary: the folder that holds it, or tokenizer.json or the authors' file")
                 .optional())
      .param(integer("size", "tokens of a learnt vocabulary; by default the 514 of single bytes")
                 .range(kByteTokens, std::nullopt)
                 .optional())
      .run(make_tokenizer);
}

}  // namespace

void declare_texts(Registrar& registrar) {
  declare_tokenizer(registrar);
  declare_examples(registrar, "pairs")
      .doc(
          "Pairs every caption with its picture, for contrastive training and retrieval.\n"
          "Pairs that share their picture or their text form a group, and no pair is a counterexample to another of "
          "its "
          "group.")
      .example("local pairs = emoji.train:pairs { tokenizer = tokenizer, length = 32 }")
      .param(text("prefix", "what stands before every caption").fall_back(""))
      .run(make_pairs);
  declare_examples(registrar, "classes")
      .doc(
          "Pairs every picture with its class, and every class with the texts that name it.\n"
          "In each template {} stands for the name of the class. The embedding of a class is the mean, brought to "
          "length "
          "1 again, of those of its texts.")
      .example(
          "local digits = data.test:classes { tokenizer = tokenizer, templates = { \"a photo of the number {}.\" } }")
      .param(list("templates", ParamType::string, "texts of a class, {} its name")
                 .fall_back(Json::array({"a photo of a {}."})))
      .run(make_classes);
  declare_examples(registrar, "questions")
      .doc(
          "Pairs every question with its picture and with a text for each answer there is.\n"
          "CLIP cannot write: a question is answered by the answer whose text is nearest to the picture.")
      .example("local questions = vqa.test:questions { tokenizer = tokenizer }")
      .param(text("template", "a text of a question {question} and an answer {answer}")
                 .fall_back("question: {question} answer: {answer}"))
      .run(make_questions);
}

}  // namespace colonnade::clip
