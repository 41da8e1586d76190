#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "kernel/report/report.h"

namespace colonnade::host {

// A tensor as NumPy's format 1.0: magic, version, a header whose length makes the data start at a multiple of 64, then
// the elements, little endian and row by row. bf16, which NumPy does not have, is widened to f32, which changes no
// value.
std::string npy_bytes(const Blob& tensor);

// Column names, then a row a line; numbers read back exactly.
std::string csv_text(const Table& table);

// Path in the run's folder -> bytes; several where the value is of type files.
std::map<std::string, std::string> result_file_texts(const ResultFile& file);

// Writes the declared files into `folder`, each atomically, and so a folder of files as a whole.
void write_result_files(const StudyResults& results, const std::filesystem::path& folder);

// The report's table of the files of measured ops, or of the others; "" if there are none.
std::string files_section(const StudyResults& results, bool measured);

}  // namespace colonnade::host
