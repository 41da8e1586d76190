#pragma once

#include <map>
#include <string>
#include <string_view>

#include "colonnade/value.h"

namespace colonnade {

// Files in a layout that other programs read (type "files"): the document names the format ({"format": "hf"}), a tensor
// u8 [bytes] under each file's name holds its bytes. An op whose first output is of this type is an export format named
// like the op, for values of its first input's type: `colonnade export` writes what it gives.
struct Files {
  std::string format;
  std::map<std::string, Blob> files;
};

// The bytes of a file, copied; for large ones use Blob::share.
Blob file_bytes(std::string_view bytes);

// Throws Error(input) unless the name is relative, with '/' between folders, of parts that every file system takes:
// UTF-8 without control characters and \ : * ? " < > |, none empty, none "." or "..", none ending with a dot or a
// space, none longer than 255 bytes.
void check_file_name(const std::string& name);

// Both throw Error(input) unless there are files, all with names as above, no two of which are the same but for the
// case of ASCII letters, or one the folder of the other.
Field to_field(const Files& files);
Files files_from(const Field& field);  // also on another type and tensors that are no row of bytes

}  // namespace colonnade
