#include "kernel/report/result_files.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <bit>
#include <cstring>

#include "colonnade/error.h"
#include "colonnade/files.h"
#include "colonnade/text.h"
#include "kernel/report/letters.h"
#include "kernel/report/markdown_text.h"
#include "kernel/report/numbers.h"
#include "kernel/report/tables.h"
#include "kernel/store/files.h"
#include "kernel/store/folder_writer.h"
#include "kernel/store/store.h"

namespace colonnade::host {

namespace {

static_assert(std::endian::native == std::endian::little, "elements are written as they lie in memory");

std::string_view numpy_dtype(DType dtype) {
  switch (dtype) {
    case DType::boolean:
      return "|b1";
    case DType::u8:
      return "|u1";
    case DType::i8:
      return "|i1";
    case DType::i16:
      return "<i2";
    case DType::i32:
      return "<i4";
    case DType::i64:
      return "<i8";
    case DType::f16:
      return "<f2";
    case DType::bf16:
    case DType::f32:
      return "<f4";
    case DType::f64:
      return "<f8";
  }
  return "";
}

// "(3, 4)", "(3,)", "()": a tuple as Python writes it.
std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("({}{})", fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
}

void append_widened(const Blob& tensor, std::string& out) {
  constexpr int mantissa_bits_added = 16;
  const auto* elements = tensor.as<std::uint16_t>();
  for (std::int64_t i = 0; i < tensor.elements(); ++i) {
    const std::uint32_t wide = static_cast<std::uint32_t>(elements[i]) << mantissa_bits_added;
    char bytes[sizeof(wide)];
    std::memcpy(bytes, &wide, sizeof(wide));
    out.append(bytes, sizeof(wide));
  }
}

const Blob& only_tensor(const ResultFile& file) {
  const auto found = file.field.tensors.find("tensor");
  if (found == file.field.tensors.end()) {
    throw Error(ErrorKind::op, fmt::format("{}: {} is no tensor", file.path, file.source));
  }
  return found->second;
}

std::string cell_text(const Json& cell) {
  if (cell.is_null()) return "";
  if (cell.is_string()) return cell.get<std::string>();
  return cell.is_number_float() ? exact_number(cell.get<double>()) : json_text(cell);
}

bool is_folder(const ResultFile& file) {
  return file.field.type == "files";
}

std::string file_text(const ResultFile& file) {
  const bool is_tensor = file.field.type == "tensor";
  return is_tensor ? npy_bytes(only_tensor(file)) : csv_text(table_from(file.field));
}

std::string holds_text(const ResultFile& file) {
  if (file.field.type == "tensor") {
    const Blob& tensor = only_tensor(file);
    return fmt::format("{} {}", dtype_name(tensor.dtype()), shape_text(tensor.shape()));
  }
  if (is_folder(file)) {
    const Files files = files_from(file.field);
    std::uint64_t bytes = 0;
    for (const auto& [name, blob] : files.files) bytes += blob.size();
    return fmt::format("{}: {} files, {} bytes", files.format, files.files.size(), bytes);
  }
  const Table table = table_from(file.field);
  std::vector<std::string> columns;
  for (const Table::Column& column : table.columns()) {
    columns.push_back(column.unit.empty() ? column.name : fmt::format("{} ({})", column.name, column.unit));
  }
  return fmt::format("{} rows: {}", table.rows(), fmt::join(columns, ", "));
}

}  // namespace

std::string npy_bytes(const Blob& tensor) {
  constexpr std::string_view opening{"\x93NUMPY\x01\x00", 8};  // magic, version 1.0
  constexpr std::size_t length_bytes = 2, alignment = 64, byte_bits = 8;
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}",
                                   numpy_dtype(tensor.dtype()), shape_text(tensor.shape()));
  const std::size_t unpadded = opening.size() + length_bytes + header.size() + 1;
  header.append((alignment - unpadded % alignment) % alignment, ' ');
  header += '\n';
  if (header.size() > UINT16_MAX)
    throw Error(ErrorKind::op, "a tensor of so many dimensions has no place in a .npy file");
  std::string out(opening);
  out += static_cast<char>(header.size() & UINT8_MAX);
  out += static_cast<char>(header.size() >> byte_bits);
  out += header;
  if (tensor.dtype() == DType::bf16) {
    append_widened(tensor, out);
  } else {
    out.append(reinterpret_cast<const char*>(tensor.data()), tensor.size());
  }
  return out;
}

std::string csv_text(const Table& table) {
  TextTable text;
  for (const Table::Column& column : table.columns()) text.header.push_back(column.name);
  text.rows.resize(table.rows());
  for (const Table::Column& column : table.columns()) {
    for (std::size_t row = 0; row < text.rows.size(); ++row) text.rows[row].push_back(cell_text(column.cells.at(row)));
  }
  return valid_utf8(as_csv(text));
}

std::map<std::string, std::string> result_file_texts(const ResultFile& file) {
  if (!is_folder(file)) return {{file.path, file_text(file)}};
  std::map<std::string, std::string> texts;
  for (const auto& [name, blob] : files_from(file.field).files) {
    texts[file.path + "/" + name] = std::string(blob.as<char>(), blob.size());
  }
  return texts;
}

void write_result_files(const StudyResults& results, const std::filesystem::path& folder) {
  for (const ResultFile& file : results.files) {
    const std::filesystem::path target = folder / file.path;
    make_folder(target.parent_path());
    if (is_folder(file)) {
      write_folder_atomically(target, files_from(file.field).files, true);
    } else {
      write_file_atomically(target, file_text(file));
    }
  }
}

std::string files_section(const StudyResults& results, bool measured) {
  TextTable table{{"file", "value", "holds"}, {}};
  for (const ResultFile& file : results.files) {
    if (file.measured != measured) continue;
    table.rows.push_back({file.path, file.source, holds_text(file)});
  }
  return table.rows.empty() ? "" : as_markdown(table);
}

}  // namespace colonnade::host
