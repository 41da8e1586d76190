// What a model is trained on: a running text, of which batches are windows, or a set of examples.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "colonnade/tensor/examples.h"
#include "colonnade/tensor/model.h"
#include "colonnade/tokens.h"

namespace colonnade {

class TrainingData {
 public:
  explicit TrainingData(Tokens tokens) : source_(std::move(tokens)) {}
  explicit TrainingData(Examples examples) : source_(std::move(examples)) {}
  // Throws Error(input) naming `role` on a field of another type, or one too small for a window of `length` tokens or a
  // batch of two examples.
  static TrainingData from_field(const Field& field, const std::string& role, std::int64_t length);

  // The batch of this number, negative ones too. Windows of a text are numbered through the whole training, so that two
  // batches of 8 are one of 16; the examples of a batch are different ones.
  Batch batch(const RandomStream& random, std::int64_t index, std::int64_t size, std::int64_t length,
              at::ScalarType type) const;
  // Mean nats over `count` windows or examples spread evenly: the same ones at every call. Examples are taken in whole
  // batches, since a contrastive loss depends on how many there are.
  double evaluate(const Model& model, std::int64_t count, std::int64_t size, std::int64_t length) const;
  // What one row of a batch counts as, and its name.
  std::int64_t units(std::int64_t length) const { return is_text() ? length : 1; }
  const char* unit_name() const { return is_text() ? "tokens" : "examples"; }

 private:
  bool is_text() const { return std::holds_alternative<Tokens>(source_); }

  std::variant<Tokens, Examples> source_;
};

// Mean nats over `windows` windows spread evenly over the tokens: the same ones at every call.
double evaluate_nats(const Model& model, const Tokens& tokens, std::int64_t length, std::int64_t windows,
                     std::int64_t batch);

}  // namespace colonnade
