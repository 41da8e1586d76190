#pragma once

#include <map>
#include <string>
#include <vector>

#include "colonnade/tensor/batch.h"

namespace colonnade {

// How stored bytes become numbers, by channel (dimension 1): (byte / 255 - mean) / deviation.
struct ChannelScaling {
  std::vector<double> mean, deviation;
};

// A data set of examples, from which models that do not read running text take their batches (type "examples").
// Pictures with captions: "pixels" u8 [pictures, 3, height, width] with a scaling, "ids" i32 [examples, length], and
// maybe "groups" i32 [examples] (examples of one group are no counterexamples of each other). Pictures with classes:
// "pixels", "targets" i32 [examples], and as shared tensors what every batch needs: "ids" of the classes' texts. All of
// it lies in CPU memory, batches too.
struct Examples {
  NamedTensors rows;                              // a row an example, or what `index` points into
  std::map<std::string, Tensor> index;            // i32 [examples]: the row of rows[name] that each example takes
  NamedTensors shared;                            // given whole with every batch
  std::map<std::string, ChannelScaling> scaling;  // of byte tensors
  Json about = Json::object();                    // names of classes, templates: what reports and measures say of it

  std::int64_t count() const;
  // The examples as a batch: integers as i64, scaled bytes as `type`. Throws Error(input) on a number outside.
  Batch batch(const std::vector<std::int64_t>& examples, at::ScalarType type = at::kFloat) const;
  // Rows of one tensor, converted like a batch's: for walking over pictures rather than examples.
  Tensor take(const std::string& name, const std::vector<std::int64_t>& rows_wanted,
              at::ScalarType type = at::kFloat) const;
};

Field to_field(const Examples& examples);
Examples examples_from(
    const Field& field);  // throws Error(input) on another type, or tensors that do not fit one another

// `size` different examples of `count`, from the stream alone: all of them, in a random order, where there are no more.
std::vector<std::int64_t> draw_examples(const RandomStream& random, std::int64_t count, std::int64_t size);

}  // namespace colonnade
