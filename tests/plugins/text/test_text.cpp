#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <optional>

#include "colonnade/blob_writer.h"
#include "colonnade/error.h"
#include "colonnade/random.h"
#include "colonnade/run_op.h"
#include "colonnade/tokenizer.h"
#include "colonnade/tokens.h"
#include "plugins/text/corpus.h"
#include "plugins/text/cut.h"
#include "tests/support/plugins.h"

extern "C" const colonnade::PluginDescriptor colonnade_plugin;

namespace colonnade {

namespace {

namespace fs = std::filesystem;

// A folder of its own that goes with the test.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "colonnade-text-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = fs::path(name) / "corpus";
    fs::create_directory(path_);
  }
  ~Folder() { fs::remove_all(path_.parent_path()); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  const Folder& put(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
    return *this;
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// Lines "A0000".."A0099": 600 bytes of 6 a line.
std::string lines(char letter, int count = 100) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    const std::string number = std::to_string(i);
    text += letter + std::string(4 - number.size(), '0') + number + "\n";
  }
  return text;
}

std::string read_bytes(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string error_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::input);
    return error.what();
  }
  return "";
}

struct Texts {
  std::string train, valid, test;
  std::vector<std::string> files;
};

Texts read_texts(const fs::path& path, std::optional<std::int64_t> domain, std::int64_t domains) {
  const Corpus corpus = read_corpus(path, domain, domains);
  return {read_whole(corpus.train), read_whole(corpus.valid), read_whole(corpus.test), corpus.files};
}

std::string refusal(const fs::path& path, std::optional<std::int64_t> domain = {}, std::int64_t domains = 2) {
  return error_of([&] { read_corpus(path, domain, domains); });
}

Value run_text(Json params, const std::string& op = "text/text") {
  register_linked_plugin(colonnade_plugin);
  RunRequest request;
  request.op = op;
  request.params = std::move(params);
  return run_op(request);
}

std::string bytes_of(const Tokens& tokens) {
  return {tokens.ids.as<char>(), static_cast<std::size_t>(tokens.count())};
}

void check_cut_at_lines(const Texts& corpus) {
  for (const std::string* text : {&corpus.train, &corpus.valid, &corpus.test}) {
    REQUIRE_FALSE(text->empty());
    CHECK(text->back() == '\n');
  }
}

}  // namespace

TEST_CASE("a folder of texts: every .txt file is a domain in order of name, split 90/5/5 at line ends") {
  const Folder folder;
  folder.put("2-new.txt", lines('B'))
      .put("1-old.txt", lines('A'))
      .put("notes.md", "no text\n")
      .put(".hidden.txt", lines('X'));
  const std::string a = lines('A'), b = lines('B');
  const Texts old = read_texts(folder.path(), 1, 2);
  CHECK(old.train == a.substr(0, 540));
  CHECK(old.valid == a.substr(540, 30));
  CHECK(old.test == a.substr(570));
  CHECK(old.files == std::vector<std::string>{"1-old.txt"});
  const Texts young = read_texts(folder.path(), 2, 2);
  CHECK(young.train + young.valid + young.test == b);
  const Texts both = read_texts(folder.path(), {}, 2);
  CHECK(both.train == old.train + young.train);
  CHECK(both.valid == old.valid + young.valid);
  CHECK(both.test == old.test + young.test);
  CHECK(both.files == std::vector<std::string>{"1-old.txt", "2-new.txt"});
  CHECK(refusal(folder.path(), 3) == "text: domain = 3 does not exist; 'corpus' has 2 domains");
}

TEST_CASE("cuts never go through a line, wherever the shares fall") {
  for (int count = 30; count < 60; ++count) {
    const Folder folder;
    const std::string text = lines('A', count) +
                             "a line that is longer than the others, by far, so that shares fall into it\n" +
                             lines('B', 9);
    folder.put("text.txt", text);
    const Texts corpus = read_texts(folder.path(), {}, 2);
    INFO(count);
    CHECK(corpus.train + corpus.valid + corpus.test == text);
    check_cut_at_lines(corpus);
  }
}

TEST_CASE("published splits are read as published, under their usual names") {
  const std::vector<std::array<const char*, 3>> names = {{"wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"},
                                                         {"train.txt", "validation.txt", "test.txt"},
                                                         {"ptb_training.txt", "ptb_val.txt", "ptb_test.txt"},
                                                         {"TRAIN", "dev-2", "a-test-b"}};
  for (const auto& [train, valid, test] : names) {
    const Folder folder;
    folder.put(train, lines('A')).put(valid, "valid, no line end").put(test, lines('C', 3)).put("README", "nothing");
    const Texts corpus = read_texts(folder.path(), {}, 2);
    CHECK(corpus.train == lines('A'));
    CHECK(corpus.valid == "valid, no line end");
    CHECK(corpus.test == lines('C', 3));
    CHECK(corpus.files.size() == 3);
  }
}

TEST_CASE("domains of a published training split are equal ranges that cover it, validation and test stay whole") {
  const Folder folder;
  folder.put("train.txt", lines('A')).put("valid.txt", lines('B', 2)).put("test.txt", lines('C', 2));
  for (const std::int64_t domains : {1, 2, 3, 7}) {
    std::string joined;
    for (std::int64_t domain = 1; domain <= domains; ++domain) {
      const Texts corpus = read_texts(folder.path(), domain, domains);
      check_cut_at_lines(corpus);
      CHECK(std::abs(static_cast<double>(corpus.train.size()) - 600.0 / static_cast<double>(domains)) <= 6);
      CHECK(corpus.valid == lines('B', 2));
      CHECK(corpus.test == lines('C', 2));
      joined += corpus.train;
    }
    CHECK(joined == lines('A'));
  }
  CHECK(refusal(folder.path(), 3, 2) == "text: domain = 3 does not exist; the training split has 2 domains");
  CHECK(refusal(folder.path(), 2, 1) == "text: domain = 2 does not exist; the training split has 1 domain");
}

TEST_CASE("words that only begin like a split's name are none") {
  const Folder folder;
  folder.put("1-old-testament.txt", lines('A')).put("trainer.txt", lines('B')).put("validated.txt", lines('C'));
  CHECK(read_corpus(folder.path(), {}, 2).files.size() == 3);
}

TEST_CASE("a single file is one text, its domains are ranges of its training split") {
  const Folder folder;
  folder.put("book.text", lines('A'));
  const fs::path file = folder.path() / "book.text";
  const Texts whole = read_texts(file, {}, 2), first = read_texts(file, 1, 2), second = read_texts(file, 2, 2);
  CHECK(whole.train + whole.valid + whole.test == lines('A'));
  CHECK(first.train + second.train == whole.train);
  CHECK(first.train.size() == 270);
  CHECK(first.test == whole.test);
  CHECK(second.valid == whole.valid);
}

TEST_CASE("what is missing, empty or double is told with what was found") {
  const Folder missing;
  missing.put("valid.txt", "v\n").put("test.txt", "t\n");
  CHECK(refusal(missing.path()) ==
        "text: 'corpus' has test.txt, valid.txt but no training split; a file with the word train, valid or test in "
        "its name is one, or a folder of .txt files");
  CHECK(refusal(missing.path() / "") == refusal(missing.path()));
  missing.put("train.txt", "");
  CHECK(refusal(missing.path()) ==
        "text: the training split of 'corpus' is empty; cuts are made at line ends, so every split needs a line");
  missing.put("train.tokens", "x\n");
  CHECK(refusal(missing.path()) == "text: 'corpus' has two files for one split: test.txt, train.tokens, train.txt");

  const Folder none;
  const std::string nothing =
      "text: 'corpus' has neither published splits (train, valid, test in the files' names) nor .txt files";
  CHECK(refusal(none.path()) == nothing);
  none.put("book.md", "x\n");
  CHECK(refusal(none.path()) == nothing);
  none.put("book.txt", "one line and no end");
  CHECK(refusal(none.path()) ==
        "text: the validation split of 'corpus' is empty; cuts are made at line ends, so every split needs a line");
  CHECK(refusal(none.path() / "no-such-file").starts_with("text: 'no-such-file' cannot be read: "));
}

TEST_CASE("the op gives byte tokens with words counted, whatever the bytes are") {
  const Folder folder;
  std::string odd;
  for (int byte = 0; byte < 256; ++byte) odd += static_cast<char>(byte);
  folder.put("train.txt", odd + "\n").put("valid.txt", "two  words\n").put("test.txt", "\tthree more\nwords \xc3\xa4");
  const Value value = run_text({{"path", folder.path().string()}});
  const Tokens train = tokens_from(value.at("train")), valid = tokens_from(value.at("valid")),
               test = tokens_from(value.at("test"));
  CHECK(bytes_of(train) == odd + "\n");
  CHECK(train.vocabulary == "bytes");
  CHECK(train.vocabulary_size == 256);
  CHECK(train.split == "train");
  CHECK(valid.words == 2);
  CHECK(test.words == 4);
  CHECK(test.bytes == 20);
  CHECK(test.split == "test");
  CHECK(test.domain.empty());
  const Json& info = value.at("info").document;
  CHECK(info.at("files") == Json({"test.txt", "train.txt", "valid.txt"}));
  CHECK(info.at("train_bytes") == 257);
  CHECK(tokens_from(run_text({{"path", folder.path().string()}, {"domain", 1}, {"domains", 1}}).at("train")).domain ==
        "1");
}

TEST_CASE("the value tells nothing of where the text lay") {
  const Folder one, other;
  for (const Folder* folder : {&one, &other}) folder->put("book.txt", lines('A'));
  const Value a = run_text({{"path", one.path().string()}}), b = run_text({{"path", other.path().string()}});
  for (const char* field : {"train", "valid", "test", "info"})
    CHECK(a.at(field).content_hash() == b.at(field).content_hash());
}

TEST_CASE("the op refuses domains and vocabularies that do not exist") {
  const Folder folder;
  folder.put("book.txt", lines('A'));
  const auto refused = [&](Json more) {
    more["path"] = folder.path().string();
    try {
      run_text(more);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK_FALSE(refused({{"domain", 0}}).empty());
  CHECK_FALSE(refused({{"domain", 2}}).empty());
  CHECK_FALSE(refused({{"domains", 0}}).empty());
  CHECK(refused({{"vocabulary", "byte"}}).find("bytes") != std::string::npos);
  CHECK(refused(Json::object()).empty());
}

TEST_CASE("WikiText-2 as published: validation and test are there, the training split is missed by name", "[needs]") {
  const char* data = std::getenv("COLONNADE_TEST_DATA");
  if (data == nullptr) {
    WARN("skipped: COLONNADE_TEST_DATA names no folder");
    return;
  }
  const fs::path published = fs::path(data) / "text" / "wikitext2";
  REQUIRE(fs::is_directory(published));
  std::map<std::string, fs::path> files;
  for (const auto& entry : fs::directory_iterator(published)) {
    const std::string name = entry.path().filename().string();
    for (const char* split : {"train", "valid", "test"}) {
      if (name.find(split) != std::string::npos) files[split] = entry.path();
    }
  }
  REQUIRE(files.contains("valid"));
  REQUIRE(files.contains("test"));
  if (!files.contains("train")) {
    const std::string message = refusal(published);
    CHECK(message.find("but no training split") != std::string::npos);
    CHECK(message.find(files["valid"].filename().string()) != std::string::npos);
  }
  // With a training split beside them they are read whole.
  const Folder folder;
  folder.put("wiki.train.tokens", lines('A'));
  for (const char* split : {"valid", "test"}) fs::copy(files[split], folder.path() / files[split].filename());
  const Texts corpus = read_texts(folder.path(), 2, 2);
  CHECK(corpus.valid == read_bytes(files["valid"]));
  CHECK(corpus.test == read_bytes(files["test"]));
  CHECK(corpus.train.size() == 300);
}

TEST_CASE("a published tokenizer is read by itself, from its file or its folder") {
  const std::string folder = std::string(COLONNADE_TEST_SOURCE_DIR) + "/tests/oracles/byte_pairs";
  for (const std::string& path : {folder, folder + "/tokenizer.json"}) {
    const Tokenizer tokenizer = tokenizer_from(run_text({{"path", path}}, "text/byte_pairs").at("tokenizer"));
    CHECK(tokenizer.encode("the loop") == Tokenizer(read_bytes(folder + "/tokenizer.json"), "").encode("the loop"));
  }
  const Folder empty;
  CHECK_THROWS_WITH(run_text({{"path", empty.path().string()}}, "text/byte_pairs"),
                    Catch::Contains("tokenizer.json: cannot be read"));
}

TEST_CASE("byte pairs are the tokenizer's ids of each split; bytes and words stay those of the text") {
  const Folder folder;
  const std::string text = "the loop was slow;\nit's what they've said\n";
  for (const char* name : {"train.txt", "valid.txt", "test.txt"}) folder.put(name, text + name + "\n");
  const std::string path = std::string(COLONNADE_TEST_SOURCE_DIR) + "/tests/oracles/byte_pairs/tokenizer.json";
  const auto read = [&](Json params) {
    params["path"] = folder.path().string();
    return run_text(std::move(params));
  };
  const Value value = read({{"vocabulary", "byte_pairs"}, {"tokenizer", path}});
  const Tokenizer tokenizer = tokenizer_from(value.at("tokenizer"));
  const Tokens train = tokens_from(value.at("train"));
  CHECK(train.vocabulary_size == tokenizer.size());
  std::vector<std::int64_t> ids;
  for (std::int64_t i = 0; i < train.count(); ++i) ids.push_back(train.id(i));
  CHECK(tokenizer.decode(ids) == text + "train.txt\n");
  CHECK(train.count() < train.bytes);
  CHECK(train.bytes == static_cast<std::int64_t>(text.size()) + 10);
  CHECK(train.words == 9);
  CHECK(tokenizer_from(read(Json::object()).at("tokenizer")).is_bytes());
  CHECK_THROWS_WITH(read({{"vocabulary", "byte_pairs"}}), Catch::Contains("needs tokenizer"));
  CHECK_THROWS_WITH(read({{"tokenizer", path}}), Catch::Contains("with vocabulary = \"byte_pairs\" only"));
  CHECK_THROWS_WITH(read({{"vocabulary", "byte_pairs"}, {"tokenizer", (folder.path() / "test.txt").string()}}),
                    Catch::Contains("test.txt: is not a JSON object"));
}

TEST_CASE("a text that is encoded in parts has the ids of the whole, wherever the parts end") {
  const std::string path = std::string(COLONNADE_TEST_SOURCE_DIR) + "/tests/oracles/byte_pairs/tokenizer.json";
  const Tokenizer tokenizer(read_bytes(path), path);
  const std::vector<std::string> parts = {"it's slow",     "\n\n  ",           "3,000 words\n",
                                          "\n \nthe loop", "\t\xc3\xa4rger\n", "<|endoftext|>",
                                          " a\r\nnd\n",    "e\xcc\x81\n",      "x\n\xcc\x81y"};
  std::string text;
  for (std::uint64_t i = 0; text.size() < 2'500'000; ++i) text += parts[RandomStream(7).below(i, parts.size())];
  const std::vector<std::int32_t> whole = tokenizer.encode(text);
  const Folder folder;
  folder.put("book.txt", text);
  const Tokens tokens = cut_into_tokens({whole_file(folder.path() / "book.txt")}, false, tokenizer);
  REQUIRE(tokens.count() == std::ssize(whole));
  CHECK(std::equal(whole.begin(), whole.end(), tokens.ids.as<std::int32_t>()));
  CHECK(tokens.bytes == std::ssize(text));
  CHECK(tokens.lines == std::count(text.begin(), text.end(), '\n'));
  CHECK(last_safe_cut("one\n two\n") == 8);
  CHECK(last_safe_cut("two\n\n") == 3);
  CHECK(last_safe_cut("two \n.\n") == 0);
}

TEST_CASE("subfolders of a split's name hold documents, as PG-19's books are published") {
  const Folder folder;
  for (const char* split : {"train", "validation", "test"}) fs::create_directory(folder.path() / split);
  folder.put("metadata.csv", "10,a,1\n").put("train/10.txt", "one two").put("train/9.txt", "three\nfour\n");
  folder.put("validation/1.txt", "five\n").put("test/5.txt", "six\n").put("test/6.txt", "").put("test/7.txt", "x y");
  for (const char* vocabulary : {"bytes", "byte_pairs"}) {
    Json params = {{"path", folder.path().string()}, {"vocabulary", vocabulary}};
    const std::string path = std::string(COLONNADE_TEST_SOURCE_DIR) + "/tests/oracles/byte_pairs/tokenizer.json";
    if (params["vocabulary"] == "byte_pairs") params["tokenizer"] = path;
    const Value value = run_text(params);
    const Tokenizer tokenizer = tokenizer_from(value.at("tokenizer"));
    const auto count = [&](const char* text) { return std::ssize(tokenizer.encode(text)); };
    const Tokens train = tokens_from(value.at("train")), test = tokens_from(value.at("test"));
    CHECK(train.documents == std::vector<std::int64_t>{0, count("one two")});
    CHECK(train.count() == count("one two") + count("three\nfour\n"));
    CHECK(train.words == 4);
    CHECK(train.lines == 2);
    CHECK(test.documents == std::vector<std::int64_t>{0, count("six\n")});
    CHECK(test.words == 3);
    CHECK(tokens_from(value.at("valid")).documents.empty());
    CHECK(value.at("info").document.at("files") ==
          Json({"test/5.txt", "test/6.txt", "test/7.txt", "train/10.txt", "train/9.txt", "validation/1.txt"}));
  }
  fs::create_directory(folder.path() / "dev");
  CHECK(refusal(folder.path()) == "text: 'corpus' has two folders for one split: dev/, test/, train/, validation/");
}

namespace {

// Stands for the store: bytes are taken and forgotten, the blob is of memory that was never touched.
class Forgetting final : public BlobSink {
 public:
  Forgetting(DType dtype, const std::vector<std::int64_t>& shape) : dtype_(dtype), shape_(shape) {}
  void write(const void*, std::size_t size) override { taken_ += size; }
  Blob finish() override {
    const std::size_t size = taken_;
    void* memory = mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    const std::shared_ptr<const void> owner(memory,
                                            [size](const void* data) { munmap(const_cast<void*>(data), size); });
    return Blob::share(dtype_, shape_, memory, owner);
  }

 private:
  DType dtype_;
  std::vector<std::int64_t> shape_;
  std::size_t taken_ = 0;
};

std::int64_t peak_kilobytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word && word != "VmHWM:") continue;
  std::int64_t kilobytes = 0;
  status >> kilobytes;
  return kilobytes;
}

}  // namespace

TEST_CASE("a text is read and cut without being held: memory does not grow with it") {
  constexpr std::int64_t megabyte = 1 << 20, size = 160 * megabyte, allowed_kilobytes = 24 * 1024;
  const Folder folder;
  folder.put("long.txt", "");
  fs::resize_file(folder.path() / "long.txt", size);  // a hole: zeros that take no room
  std::fstream file(folder.path() / "long.txt", std::ios::in | std::ios::out | std::ios::binary);
  for (std::int64_t at = megabyte / 2; at < size; at += megabyte) file.seekp(at) << "a\n";
  file.close();
  set_blob_sinks(
      [](DType dtype, const std::vector<std::int64_t>& shape) { return std::make_unique<Forgetting>(dtype, shape); });
  std::ofstream("/proc/self/clear_refs") << 5;
  const std::int64_t before = peak_kilobytes();
  const Value value = run_text({{"path", folder.path().string()}});
  const std::int64_t grown = peak_kilobytes() - before;
  set_blob_sinks({});
  const Tokens train = tokens_from(value.at("train"));
  CHECK(train.count() > size / 100 * 89);
  CHECK(train.lines == train.words);
  CHECK(grown < allowed_kilobytes);
}

}  // namespace colonnade
