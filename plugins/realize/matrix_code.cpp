#include "matrix_code.h"

#include <ATen/Functions.h>

#include <array>
#include <bit>
#include <limits>
#include <optional>

#include "positions.h"

namespace colonnade::realize {

namespace {

constexpr std::array<const char*, 5> form_names = {"empty", "dense", "sparse", "structured", "seeded"};
constexpr std::uint64_t all_words = std::uint64_t{1} << 32;

bool is_zero(float value) {
  return std::bit_cast<std::uint32_t>(value) == 0;
}

struct View {
  const float* values;
  std::int64_t rows, columns;
  Groups groups;

  std::int64_t elements() const { return rows * columns; }
  std::int64_t group_length() const { return groups == Groups::rows ? columns : elements(); }
};

/// What is not zero, by row and column.
struct Occupied {
  std::vector<std::int64_t> row_counts, column_counts;
  std::int64_t total = 0;
};

Occupied occupied(const View& view) {
  Occupied result;
  result.row_counts.resize(static_cast<std::size_t>(view.rows));
  result.column_counts.resize(static_cast<std::size_t>(view.columns));
  const float* at = view.values;
  for (auto& row : result.row_counts) {
    for (auto& column : result.column_counts) {
      const int held = is_zero(*at++) ? 0 : 1;
      row += held;
      column += held;
    }
    result.total += row;
  }
  return result;
}

/// Bytes of numbers of which each row has so many.
std::uint64_t values_size(const View& view, ValueType type, const std::vector<std::int64_t>& row_counts) {
  std::uint64_t bytes = 0, all = 0;
  for (const std::int64_t count : row_counts) {
    all += static_cast<std::uint64_t>(count);
    if (view.groups == Groups::rows) bytes += group_size(type, static_cast<std::uint64_t>(count));
  }
  return view.groups == Groups::rows ? bytes : group_size(type, all);
}

/// Writes the numbers at ascending positions, group by group.
void write_values(ByteWriter& writer, const View& view, ValueType type, const std::vector<std::int64_t>& positions) {
  std::vector<float> group;
  std::size_t at = 0;
  for (std::int64_t end = view.group_length(); end <= view.elements(); end += view.group_length()) {
    group.clear();
    while (at < positions.size() && positions[at] < end) group.push_back(view.values[positions[at++]]);
    write_group(writer, type, group);
  }
}

void read_values(ByteReader& reader, const View& view, ValueType type, const std::vector<std::int64_t>& positions,
                 float* out) {
  std::vector<float> group;
  std::size_t at = 0;
  for (std::int64_t end = view.group_length(); end <= view.elements(); end += view.group_length()) {
    std::size_t last = at;
    while (last < positions.size() && positions[last] < end) ++last;
    if (group_size(type, last - at) > reader.left()) reader.refuse("it ends within its numbers");
    group.resize(last - at);
    read_group(reader, type, group);
    for (const float value : group) out[positions[at++]] = value;
  }
}

std::vector<std::int64_t> nonzero_positions(const View& view, std::int64_t count) {
  std::vector<std::int64_t> positions;
  positions.reserve(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < view.elements(); ++i) {
    if (!is_zero(view.values[i])) positions.push_back(i);
  }
  return positions;
}

std::vector<std::int64_t> occupied_lines(const std::vector<std::int64_t>& counts) {
  std::vector<std::int64_t> lines;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > 0) lines.push_back(static_cast<std::int64_t>(i));
  }
  return lines;
}

std::vector<std::int64_t> crossings(const std::vector<std::int64_t>& rows, const std::vector<std::int64_t>& columns,
                                    std::int64_t width) {
  std::vector<std::int64_t> positions;
  positions.reserve(rows.size() * columns.size());
  for (const std::int64_t row : rows) {
    for (const std::int64_t column : columns) positions.push_back(row * width + column);
  }
  return positions;
}

std::string code_of(const std::vector<std::int64_t>& positions) {
  PositionEncoder encoder;
  for (const std::int64_t position : positions) encoder.add(static_cast<std::uint64_t>(position));
  return encoder.finish();
}

std::vector<std::int64_t> drawn_positions(const DrawnMask& drawn, std::int64_t elements) {
  constexpr std::int64_t block = 1 << 12;
  std::array<std::uint32_t, block> words;
  std::vector<std::int64_t> positions;
  if (drawn.threshold >= all_words) return positions;
  for (std::int64_t at = 0; at < elements; at += block) {
    const std::int64_t here = std::min(block, elements - at);
    random_words(drawn.numbers, static_cast<std::uint64_t>(at), {words.data(), static_cast<std::size_t>(here)});
    for (std::int64_t i = 0; i < here; ++i) {
      if (words[static_cast<std::size_t>(i)] >= drawn.threshold) positions.push_back(at + i);
    }
  }
  return positions;
}

/// What a matrix takes in each form; keeps the cheapest, of two as cheap the one tried first.
class Cheapest {
 public:
  Cheapest(const View& view, ValueType type) : view_(view), type_(type), occupied_(occupied(view)) {}

  MatrixCode choose(const std::vector<DrawnMask>& drawn) {
    offer(start(Form::empty), Form::empty, {}, std::vector<std::int64_t>(occupied_.row_counts.size()), 0);
    try_dense();
    for (const DrawnMask& each : drawn) try_seeded(each);
    try_structured();
    try_sparse();
    if (form_ == Form::dense) {
      const auto length = static_cast<std::size_t>(view_.group_length());
      for (std::int64_t at = 0; at < view_.elements(); at += view_.group_length()) {
        write_group(head_, type_, {view_.values + at, length});
      }
    } else {
      write_values(head_, view_, type_, positions_);
    }
    return {form_, occupied_.total, head_.take()};
  }

 private:
  ByteWriter start(Form form) const {
    ByteWriter writer;
    writer.byte(static_cast<std::uint8_t>(form));
    return writer;
  }

  bool better(std::uint64_t size) const { return !size_ || size < *size_; }

  /// `row_counts`: how many numbers each row stores, `stored` in all; they must hold all that is not zero.
  void offer(ByteWriter head, Form form, std::vector<std::int64_t> positions,
             const std::vector<std::int64_t>& row_counts, std::int64_t stored) {
    if (stored < occupied_.total || (type_ == ValueType::sign && stored > occupied_.total)) return;
    const std::uint64_t size = head.size() + values_size(view_, type_, row_counts);
    if (!better(size)) return;
    size_ = size;
    form_ = form;
    head_ = std::move(head);
    positions_ = std::move(positions);
  }

  void try_dense() {
    const std::vector<std::int64_t> counts(occupied_.row_counts.size(), view_.columns);
    offer(start(Form::dense), Form::dense, {}, counts, view_.elements());
  }

  void try_seeded(const DrawnMask& drawn) {
    // An exact count drops one element more than the threshold says.
    for (const std::uint64_t threshold : {drawn.threshold + 1, drawn.threshold}) {
      auto positions = drawn_positions({drawn.numbers, threshold}, view_.elements());
      if (held_at(positions) != occupied_.total) continue;
      ByteWriter writer = start(Form::seeded);
      writer.u64(drawn.numbers.key());
      writer.count(threshold);
      std::vector<std::int64_t> counts(occupied_.row_counts.size());
      for (const std::int64_t position : positions) ++counts[static_cast<std::size_t>(position / view_.columns)];
      const auto stored = static_cast<std::int64_t>(positions.size());
      return offer(std::move(writer), Form::seeded, std::move(positions), counts, stored);
    }
  }

  void try_structured() {
    const auto rows = occupied_lines(occupied_.row_counts), columns = occupied_lines(occupied_.column_counts);
    const auto inside = static_cast<std::int64_t>(rows.size() * columns.size());
    ByteWriter writer = start(Form::structured);
    write_positions(writer, rows.size(), code_of(rows));
    write_positions(writer, columns.size(), code_of(columns));
    std::vector<std::int64_t> counts(occupied_.row_counts.size());
    for (const std::int64_t row : rows) {
      counts[static_cast<std::size_t>(row)] = static_cast<std::int64_t>(columns.size());
    }
    if (!better(writer.size() + values_size(view_, type_, counts))) return;
    offer(std::move(writer), Form::structured, crossings(rows, columns, view_.columns), counts, inside);
  }

  void try_sparse() {
    if (!better(values_size(view_, type_, occupied_.row_counts))) return;
    auto positions = nonzero_positions(view_, occupied_.total);
    ByteWriter writer = start(Form::sparse);
    write_positions(writer, positions.size(), code_of(positions));
    offer(std::move(writer), Form::sparse, std::move(positions), occupied_.row_counts, occupied_.total);
  }

  std::int64_t held_at(const std::vector<std::int64_t>& positions) const {
    std::int64_t held = 0;
    for (const std::int64_t position : positions) held += is_zero(view_.values[position]) ? 0 : 1;
    return held;
  }

  const View view_;
  const ValueType type_;
  const Occupied occupied_;
  std::optional<std::uint64_t> size_;
  Form form_ = Form::empty;
  ByteWriter head_;
  std::vector<std::int64_t> positions_;
};

std::vector<std::int64_t> positions_of(ByteReader& reader, Form form, const View& view) {
  if (form == Form::sparse) return read_positions(reader, static_cast<std::uint64_t>(view.elements()));
  if (form == Form::structured) {
    const auto rows = read_positions(reader, static_cast<std::uint64_t>(view.rows));
    const auto columns = read_positions(reader, static_cast<std::uint64_t>(view.columns));
    return crossings(rows, columns, view.columns);
  }
  const RandomStream numbers(reader.u64());
  return drawn_positions({numbers, reader.count_below(all_words + 1, "the threshold of a drawn mask")},
                         view.elements());
}

}  // namespace

const char* form_name(Form form) {
  return form_names.at(static_cast<std::size_t>(form));
}

MatrixCode encode_matrix(const Tensor& matrix, ValueType type, Groups groups, const std::vector<DrawnMask>& drawn) {
  const View view{matrix.const_data_ptr<float>(), matrix.size(0), matrix.size(1), groups};
  return Cheapest(view, type).choose(drawn);
}

DecodedMatrix decode_matrix(ByteReader& reader, std::int64_t rows, std::int64_t columns, ValueType type,
                            Groups groups) {
  const std::uint8_t number = reader.byte();
  if (number >= form_names.size()) reader.refuse("a matrix in it has the unknown form " + std::to_string(number));
  DecodedMatrix result{static_cast<Form>(number), at::zeros({rows, columns}, at::kFloat)};
  float* values = result.matrix.data_ptr<float>();
  const View view{values, rows, columns, groups};
  if (result.form == Form::empty) return result;
  if (result.form == Form::dense) {
    const auto length = static_cast<std::size_t>(view.group_length());
    for (std::int64_t at = 0; at < view.elements(); at += view.group_length()) {
      read_group(reader, type, {values + at, length});
    }
  } else {
    read_values(reader, view, type, positions_of(reader, result.form, view), values);
  }
  if (!at::isfinite(result.matrix).all().item<bool>()) reader.refuse("a number in it is not finite");
  return result;
}

}  // namespace colonnade::realize
