// One matrix as bytes, in the cheapest of several forms.
#pragma once

#include <string>
#include <vector>

#include "bytes.h"
#include "colonnade/tensor/drawn_masks.h"
#include "values.h"

namespace colonnade::realize {

///   empty        nothing: all zero
///   dense        every number
///   sparse       positions of what is not zero, and these numbers
///   structured   the rows and columns that are not all zero, and every number where they meet
///   seeded       the two numbers that the mask was drawn by, and every number that it keeps
enum class Form : std::uint8_t { empty, dense, sparse, structured, seeded };
const char* form_name(Form form);

struct MatrixCode {
  Form form = Form::empty;
  std::int64_t nonzero = 0;
  std::string bytes;
};

/// `matrix` [rows, columns] as `round_values` gave it. `drawn`: masks it may have been thinned by, none to leave
/// `seeded` out. A zero is a number whose bits are all zero, so that -0 comes back.
MatrixCode encode_matrix(const Tensor& matrix, ValueType type, Groups groups, const std::vector<DrawnMask>& drawn = {});

struct DecodedMatrix {
  Form form = Form::empty;
  Tensor matrix;  // f32 [rows, columns]
};
/// Throws Error(input) on bytes that no matrix of these sizes has, and on numbers that are not finite.
DecodedMatrix decode_matrix(ByteReader& reader, std::int64_t rows, std::int64_t columns, ValueType type, Groups groups);

}  // namespace colonnade::realize
