#include "corpus.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "colonnade/error.h"

namespace colonnade {

namespace {

namespace fs = std::filesystem;

constexpr double train_share = 0.90, valid_share = 0.05;

enum class Split { none, train, valid, test };

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

std::uint64_t share_of(const Piece& piece, double share) {
  return line_end(piece, static_cast<std::uint64_t>(static_cast<double>(piece.size()) * share));
}

void append_by_position(Corpus& corpus, const Piece& file) {
  const std::uint64_t first = file.begin + share_of(file, train_share);
  const std::uint64_t second = file.begin + share_of(file, train_share + valid_share);
  corpus.train.push_back({file.file, file.begin, first});
  corpus.valid.push_back({file.file, first, second});
  corpus.test.push_back({file.file, second, file.end});
}

std::uint64_t size_of(const std::vector<Piece>& pieces) {
  std::uint64_t size = 0;
  for (const Piece& piece : pieces) size += piece.size();
  return size;
}

void check_domain(std::optional<std::int64_t> domain, std::int64_t count, const std::string& what) {
  if (!domain || (*domain >= 1 && *domain <= count)) return;
  throw Error(ErrorKind::input, "text: domain = " + std::to_string(*domain) + " does not exist; " + what + " has " +
                                    std::to_string(count) + (count == 1 ? " domain" : " domains"));
}

// What of the pieces lies in front of a share of their bytes, cut at a line end; the rest is left in them.
std::vector<Piece> take_front(std::vector<Piece>& pieces, std::uint64_t position) {
  std::vector<Piece> front;
  while (!pieces.empty() && position >= pieces.front().size()) {
    position -= pieces.front().size();
    front.push_back(pieces.front());
    pieces.erase(pieces.begin());
  }
  if (pieces.empty() || position == 0) return front;
  const std::uint64_t cut = pieces.front().begin + line_end(pieces.front(), position);
  front.push_back({pieces.front().file, pieces.front().begin, cut});
  pieces.front().begin = cut;
  if (pieces.front().size() == 0) pieces.erase(pieces.begin());
  return front;
}

void take_range(std::vector<Piece>& pieces, std::int64_t domain, std::int64_t domains) {
  const std::uint64_t size = size_of(pieces);
  const double share = 1.0 / static_cast<double>(domains);
  const auto up_to = [&](std::int64_t number) {
    std::vector<Piece> rest = pieces;
    const double position = static_cast<double>(size) * (share * static_cast<double>(number));
    return number == domains ? size : size_of(take_front(rest, static_cast<std::uint64_t>(position)));
  };
  const std::uint64_t begin = up_to(domain - 1), end = up_to(domain);
  take_front(pieces, begin);
  pieces = take_front(pieces, end - begin);
}

// Files, or folders, in order of name.
std::vector<fs::path> entries_of(const fs::path& folder, bool folders) {
  std::vector<fs::path> entries;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const bool wanted = folders ? entry.is_directory() : entry.is_regular_file();
    if (wanted && !entry.path().filename().string().starts_with('.')) entries.push_back(entry.path());
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

bool names_a_split(const std::vector<fs::path>& paths) {
  return std::any_of(paths.begin(), paths.end(), [](const fs::path& path) { return split_of(path) != Split::none; });
}

void put_splits(Corpus& corpus, std::map<Split, std::vector<Piece>>& found, const fs::path& folder,
                const std::string& seen) {
  for (const auto& [split, name] :
       {std::pair{Split::train, "training"}, {Split::valid, "validation"}, {Split::test, "test"}}) {
    if (found.contains(split)) continue;
    throw Error(ErrorKind::input, "text: '" + name_of(folder) + "' has " + seen + " but no " + name +
                                      " split; a file with the word train, valid or test in its name is one, or a "
                                      "folder of .txt files");
  }
  corpus.train = std::move(found[Split::train]);
  corpus.valid = std::move(found[Split::valid]);
  corpus.test = std::move(found[Split::test]);
}

Corpus read_published(const fs::path& folder, const std::vector<fs::path>& files) {
  Corpus corpus;
  std::map<Split, std::vector<Piece>> found;
  std::string seen;
  for (const fs::path& file : files) {
    const Split split = split_of(file);
    if (split == Split::none) continue;
    seen += (seen.empty() ? "" : ", ") + file.filename().string();
    if (found.contains(split)) {
      throw Error(ErrorKind::input, "text: '" + name_of(folder) + "' has two files for one split: " + seen);
    }
    found[split] = {whole_file(file)};
    corpus.files.push_back(file.filename().string());
  }
  put_splits(corpus, found, folder, seen);
  return corpus;
}

// Subfolders of documents, as books are published.
Corpus read_documents(const fs::path& folder, const std::vector<fs::path>& subfolders) {
  Corpus corpus;
  corpus.documents = true;
  std::map<Split, std::vector<Piece>> found;
  std::set<Split> met;
  std::string seen;
  for (const fs::path& subfolder : subfolders) {
    const Split split = split_of(subfolder);
    if (split == Split::none) continue;
    seen += (seen.empty() ? "" : ", ") + name_of(subfolder) + "/";
    if (!met.insert(split).second) {
      throw Error(ErrorKind::input, "text: '" + name_of(folder) + "' has two folders for one split: " + seen);
    }
    for (const fs::path& file : entries_of(subfolder, false)) {
      if (file.extension() != ".txt") continue;
      const Piece document = whole_file(file);
      if (document.size() > 0) found[split].push_back(document);
      corpus.files.push_back(name_of(subfolder) + "/" + name_of(file));
    }
  }
  put_splits(corpus, found, folder, seen);
  return corpus;
}

Corpus read_folder(const fs::path& folder, std::optional<std::int64_t> domain, std::int64_t domains) {
  const auto files = entries_of(folder, false), subfolders = entries_of(folder, true);
  if (const bool single = names_a_split(files); single || names_a_split(subfolders)) {
    check_domain(domain, domains, "the training split");
    Corpus corpus = single ? read_published(folder, files) : read_documents(folder, subfolders);
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
    append_by_position(corpus, whole_file(file));
    corpus.files.push_back(file.filename().string());
  }
  return corpus;
}

Corpus read_single(const fs::path& file, std::optional<std::int64_t> domain, std::int64_t domains) {
  check_domain(domain, domains, "the training split");
  Corpus corpus;
  append_by_position(corpus, whole_file(file));
  if (domain) take_range(corpus.train, *domain, domains);
  corpus.files.push_back(file.filename().string());
  return corpus;
}

}  // namespace

Corpus read_corpus(const fs::path& path, std::optional<std::int64_t> domain, std::int64_t domains) {
  Corpus corpus = fs::is_directory(path) ? read_folder(path, domain, domains) : read_single(path, domain, domains);
  for (const auto& [text, name] :
       {std::pair{&corpus.train, "training"}, {&corpus.valid, "validation"}, {&corpus.test, "test"}}) {
    if (size_of(*text) == 0) {
      throw Error(ErrorKind::input, "text: the " + std::string(name) + " split of '" + name_of(path) +
                                        "' is empty; cuts are made at line ends, so every split needs a line");
    }
  }
  return corpus;
}

}  // namespace colonnade
