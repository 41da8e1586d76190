#include "kernel/study/journal.h"

#include <catch2/catch.hpp>

#include "colonnade/error.h"
#include "tests/kernel/study/support.h"

using namespace colonnade;
using namespace colonnade::host;

namespace {

std::filesystem::path write_three(const TestFolder& folder) {
  const auto file = folder.path() / "journal.jsonl";
  const auto journal = Journal::open(file);
  for (int i = 0; i < 3; ++i) journal->append({{"event", "message"}, {"text", "line " + std::to_string(i)}});
  journal->commit();
  return file;
}

std::string bytes_of(const std::filesystem::path& file) {
  return read_file_if_there(file).value();
}

}  // namespace

TEST_CASE("a journal gives back what was appended") {
  const TestFolder folder;
  const auto file = write_three(folder);
  const JournalContents contents = read_journal(file);
  REQUIRE(contents.events.size() == 3);
  CHECK(contents.events[2].at("text") == "line 2");
  CHECK(contents.damage.empty());
  CHECK(contents.whole_bytes == bytes_of(file).size());
  CHECK(Journal::open(file)->contents().events == contents.events);
}

TEST_CASE("an absent journal is empty") {
  const TestFolder folder;
  CHECK(read_journal(folder.path() / "journal.jsonl").events.empty());
}

TEST_CASE("what was not committed is not there") {
  const TestFolder folder;
  const auto file = folder.path() / "journal.jsonl";
  Journal::open(file)->append({{"event", "lost"}});
  CHECK(read_journal(file).events.empty());
}

TEST_CASE("a journal cut off at any byte keeps its whole lines and can be continued") {
  const TestFolder folder;
  const std::string whole = bytes_of(write_three(folder));
  for (std::size_t size = 0; size <= whole.size(); ++size) {
    const auto file = folder.write("cut.jsonl", whole.substr(0, size));
    const auto lines = static_cast<std::size_t>(std::count(whole.begin(), whole.begin() + size, '\n'));
    {
      const auto journal = Journal::open(file);
      REQUIRE(journal->contents().events.size() == lines);
      REQUIRE(journal->contents().damage.empty());
      journal->append({{"event", "after"}});
      journal->commit();
    }
    const JournalContents contents = read_journal(file);
    REQUIRE(contents.events.size() == lines + 1);
    REQUIRE(contents.damage.empty());
    REQUIRE(contents.events.back().at("event") == "after");
  }
}

TEST_CASE("a flipped bit loses one line at most and is named, never believed") {
  const TestFolder folder;
  const std::string whole = bytes_of(write_three(folder));
  const JournalContents sound = read_journal(folder.path() / "journal.jsonl");
  const std::size_t last_line = whole.rfind('\n', whole.size() - 2) + 1;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 4);
    const JournalContents contents = read_journal(folder.write("flipped.jsonl", damaged));
    INFO("byte " << i);
    for (const Json& event : contents.events) {
      REQUIRE(std::find(sound.events.begin(), sound.events.end(), event) != sound.events.end());
    }
    REQUIRE(contents.events.size() < sound.events.size());
    // A damaged end looks like one that was being written.
    const bool at_the_end = i + 1 >= last_line;
    REQUIRE((at_the_end || !contents.damage.empty()));
  }
}

TEST_CASE("damage names file and line") {
  const TestFolder folder;
  std::string text = bytes_of(write_three(folder));
  text[text.find("line 1")] = 'L';
  const auto file = folder.write("journal.jsonl", text);
  const JournalContents contents = read_journal(file);
  CHECK(contents.events.size() == 2);
  REQUIRE(contents.damage.size() == 1);
  CHECK(contents.damage[0] == file.string() + ":2: damaged line, left out");
}

TEST_CASE("a journal has one writer") {
  const TestFolder folder;
  const auto file = folder.path() / "some-run" / "journal.jsonl";
  make_folder(file.parent_path());
  {
    const auto journal = Journal::open(file);
    CHECK(is_live(file));
    CHECK(error_of([&] { Journal::open(file); }) ==
          "some-run: another process is executing this run; wait for it or end it");
  }
  CHECK_FALSE(is_live(file));
  CHECK_NOTHROW(Journal::open(file));
}
