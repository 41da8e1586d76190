#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "text_file.h"

namespace colonnade {

// A text in its three splits: where they lie. Nothing is read but what cuts need.
struct Corpus {
  std::vector<Piece> train, valid, test;
  bool documents = false;          // each piece is a text of its own
  std::vector<std::string> files;  // relative names, in the order read
};

// How a folder or file is read:
//  - a folder that holds published splits (file names with "train", "valid"/"validation"/"val"/"dev", "test" as a word
//    of their own): as published; domain n is the n-th of `domains` equal ranges of the training split, cut at line
//    ends, with validation and test split whole;
//  - a folder whose subfolders have such names: the same, each .txt file in them a document of its own, in order of
//  name;
//  - any other folder: every .txt file is a domain, in order of name, split 90/5/5 by position at line ends; without a
//    domain the files follow one another in every split;
//  - a single file: split 90/5/5 by position; domain n is a range of its training split.
// Throws Error(input) if a split is missing or empty, or the domain does not exist.
Corpus read_corpus(const std::filesystem::path& path, std::optional<std::int64_t> domain, std::int64_t domains);

}  // namespace colonnade
