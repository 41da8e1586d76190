#include "corpus.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <system_error>

#include "colonnade/error.h"

namespace colonnade {

namespace {

namespace fs = std::filesystem;

constexpr double train_share = 0.90, valid_share = 0.05;

enum class Split { none, train, valid, test };

// "folder/" ends in an empty name.
std::string name_of(const fs::path& path) {
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

std::string read_file(const fs::path& file) {
  std::error_code failure;
  const auto size = fs::file_size(file, failure);
  std::ifstream in(file, std::ios::binary);
  std::string bytes(failure ? 0 : static_cast<std::size_t>(size), '\0');
  in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (failure || !in.is_open() || in.gcount() != static_cast<std::streamsize>(bytes.size())) {
    throw Error(ErrorKind::input,
                "text: '" + name_of(file) + "' cannot be read" + (failure ? ": " + failure.message() : ""));
  }
  return bytes;
}

// The split that a file's name speaks of, as one of its words: "wiki.train.tokens", "valid.txt".
Split split_of(const fs::path& file) {
  std::string word;
  for (const char c : file.filename().string() + ".") {
    if (std::isalpha(static_cast<unsigned char>(c))) {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      continue;
    }
    if (word == "train" || word == "training") return Split::train;
    if (word == "valid" || word == "validation" || word == "val" || word == "dev") return Split::valid;
    if (word == "test") return Split::test;
    word.clear();
  }
  return Split::none;
}

// The end of the line that holds `position`, so that cuts never go through a line.
std::size_t line_end(const std::string& text, std::size_t position) {
  if (position == 0 || position >= text.size()) return std::min(position, text.size());
  const auto newline = text.find('\n', position - 1);
  return newline == std::string::npos ? text.size() : newline + 1;
}

std::size_t share_of(const std::string& text, double share) {
  return line_end(text, static_cast<std::size_t>(static_cast<double>(text.size()) * share));
}

void append_by_position(Corpus& corpus, const std::string& text) {
  const std::size_t first = share_of(text, train_share);
  const std::size_t second = share_of(text, train_share + valid_share);
  corpus.train += text.substr(0, first);
  corpus.valid += text.substr(first, second - first);
  corpus.test += text.substr(second);
}

void check_domain(std::optional<std::int64_t> domain, std::int64_t count, const std::string& what) {
  if (!domain || (*domain >= 1 && *domain <= count)) return;
  throw Error(ErrorKind::input, "text: domain = " + std::to_string(*domain) + " does not exist; " + what + " has " +
                                    std::to_string(count) + (count == 1 ? " domain" : " domains"));
}

void take_range(std::string& text, std::int64_t domain, std::int64_t domains) {
  const double share = 1.0 / static_cast<double>(domains);
  const std::size_t begin = share_of(text, share * static_cast<double>(domain - 1));
  const std::size_t end = domain == domains ? text.size() : share_of(text, share * static_cast<double>(domain));
  text = text.substr(begin, end - begin);
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file() && !entry.path().filename().string().starts_with('.')) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

Corpus read_published(const fs::path& folder, const std::vector<fs::path>& files) {
  Corpus corpus;
  std::map<Split, std::string> found;
  std::map<Split, int> count;
  std::string seen;
  for (const fs::path& file : files) {
    const Split split = split_of(file);
    if (split == Split::none) continue;
    seen += (seen.empty() ? "" : ", ") + file.filename().string();
    if (++count[split] > 1) {
      throw Error(ErrorKind::input, "text: '" + name_of(folder) + "' has two files for one split: " + seen);
    }
    found[split] = read_file(file);
    corpus.files.push_back(file.filename().string());
  }
  for (const auto& [split, name] :
       {std::pair{Split::train, "training"}, {Split::valid, "validation"}, {Split::test, "test"}}) {
    if (!found.contains(split)) {
      throw Error(ErrorKind::input, "text: '" + name_of(folder) + "' has " + seen + " but no " + name +
                                        " split; a file with the word train, valid or test in its name is one");
    }
  }
  corpus.train = std::move(found[Split::train]);
  corpus.valid = std::move(found[Split::valid]);
  corpus.test = std::move(found[Split::test]);
  return corpus;
}

Corpus read_folder(const fs::path& folder, std::optional<std::int64_t> domain, std::int64_t domains) {
  const auto files = files_in(folder);
  const bool published =
      std::any_of(files.begin(), files.end(), [](const fs::path& file) { return split_of(file) != Split::none; });
  if (published) {
    check_domain(domain, domains, "the training split");
    Corpus corpus = read_published(folder, files);
    if (domain) take_range(corpus.train, *domain, domains);
    return corpus;
  }
  std::vector<fs::path> texts;
  std::copy_if(files.begin(), files.end(), std::back_inserter(texts),
               [](const fs::path& file) { return file.extension() == ".txt"; });
  if (texts.empty()) {
    throw Error(ErrorKind::input,
                "text: '" + name_of(folder) +
                    "' has neither published splits (train, valid, test in the files' names) nor .txt files");
  }
  check_domain(domain, static_cast<std::int64_t>(texts.size()), "'" + name_of(folder) + "'");
  if (domain) texts = {texts[static_cast<std::size_t>(*domain - 1)]};
  Corpus corpus;
  for (const fs::path& file : texts) {
    append_by_position(corpus, read_file(file));
    corpus.files.push_back(file.filename().string());
  }
  return corpus;
}

Corpus read_single(const fs::path& file, std::optional<std::int64_t> domain, std::int64_t domains) {
  check_domain(domain, domains, "the training split");
  Corpus corpus;
  append_by_position(corpus, read_file(file));
  if (domain) take_range(corpus.train, *domain, domains);
  corpus.files.push_back(file.filename().string());
  return corpus;
}

}  // namespace

Corpus read_corpus(const fs::path& path, std::optional<std::int64_t> domain, std::int64_t domains) {
  Corpus corpus = fs::is_directory(path) ? read_folder(path, domain, domains) : read_single(path, domain, domains);
  for (const auto& [text, name] :
       {std::pair{&corpus.train, "training"}, {&corpus.valid, "validation"}, {&corpus.test, "test"}}) {
    if (text->empty()) {
      throw Error(ErrorKind::input, "text: the " + std::string(name) + " split of '" + name_of(path) +
                                        "' is empty; cuts are made at line ends, so every split needs a line");
    }
  }
  return corpus;
}

}  // namespace colonnade
