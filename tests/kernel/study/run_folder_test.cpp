#include "kernel/study/run_folder.h"

#include <catch2/catch.hpp>

#include "colonnade/error.h"
#include "tests/kernel/study/support.h"

using namespace colonnade;
using namespace colonnade::host;
using Catch::Contains;

namespace {

StudyLock some_lock() {
  StudyLock lock;
  lock.document = {{"study", {{"name", "first"}, {"sources", Json::array()}}}, {"rate", 0.1}, {"count", 3}};
  lock.document["study"]["sources"].push_back({{"name", "study.lua"}, {"text", "return 1\n"}});
  lock.document["study"]["sources"].push_back({{"name", "scripts/grid.lua"}, {"text", "return 2\n"}});
  lock.id = lock_id(lock.document);
  return lock;
}

}  // namespace

TEST_CASE("the same lock finds its run again, another one makes another") {
  const TestFolder folder;
  const RunFolder run = find_or_make_run(folder.path(), "my study/1", "0123abcd");
  CHECK(run.id() == "0123abcd");
  CHECK_THAT(run.name(), Catch::Matches("my-study-1-[0-9]{4}-[0-9]{2}-[0-9]{2}-0123abcd"));
  CHECK(find_or_make_run(folder.path(), "renamed", "0123abcd").path == run.path);
  CHECK(find_or_make_run(folder.path(), "my study/1", "0123abce").path != run.path);
  CHECK_FALSE(find_run(folder.path(), "ffffffff"));
}

TEST_CASE("a run folder holds lock and sources; what is damaged is written anew") {
  const TestFolder folder;
  const StudyLock lock = some_lock();
  const auto settings = folder.write("study.toml", "steps = 1\n");
  const RunFolder run = find_or_make_run(folder.path() / "runs", "first", lock.id);
  CHECK(fill_run_folder(run, lock, settings).empty());
  CHECK(read_file_if_there(run.study() / "study.lua") == "return 1\n");
  CHECK(read_file_if_there(run.study() / "scripts/grid.lua") == "return 2\n");
  CHECK(read_file_if_there(run.study() / "study.toml") == "steps = 1\n");
  CHECK(read_lock(run.lock(), lock.id) == lock.document);
  CHECK(fill_run_folder(run, lock, settings).empty());

  const std::string text = *read_file_if_there(run.lock());
  for (std::size_t size = 0; size < text.size() - 1; ++size) {
    folder.write(std::filesystem::relative(run.lock(), folder.path()).string(), text.substr(0, size));
    REQUIRE_THAT(error_of([&] { read_lock(run.lock(), lock.id); }), Contains("lock.json: damaged"));
  }
  REQUIRE(fill_run_folder(run, lock, settings).size() == 1);
  CHECK(read_lock(run.lock(), lock.id) == lock.document);
}

TEST_CASE("a changed byte of a lock is noticed") {
  const TestFolder folder;
  const StudyLock lock = some_lock();
  const std::string text = lock_text(lock.document);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ' ' || text[i] == '\n') continue;  // layout says nothing
    std::string damaged = text;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    const auto file = folder.write("lock.json", damaged);
    INFO("byte " << i);
    REQUIRE_THROWS_AS(read_lock(file, lock.id), Error);
  }
}

TEST_CASE("people name runs by name, id, study, 'last' or folder") {
  const TestFolder folder;
  const auto runs = folder.path();
  CHECK_THAT(error_of([&] { resolve_run(runs, "last"); }), Contains("no such run"));
  const RunFolder first = find_or_make_run(runs, "alpha", "00000001");
  const RunFolder second = find_or_make_run(runs, "beta", "00000102");
  folder.write(first.name() + "/journal.jsonl", "");
  folder.write(second.name() + "/journal.jsonl", "");
  const auto later = std::filesystem::last_write_time(first.journal()) + std::chrono::seconds(5);
  std::filesystem::last_write_time(second.journal(), later);
  CHECK(resolve_run(runs, "last").path == second.path);
  CHECK(resolve_run(runs, "alpha").path == first.path);
  CHECK(resolve_run(runs, first.name()).path == first.path);
  CHECK(resolve_run(runs, "000001").path == second.path);
  CHECK(resolve_run(runs, first.path.string() + "/").path == first.path);
  CHECK_THAT(error_of([&] { resolve_run(runs, "0000"); }), Contains("several runs match"));
  CHECK_THAT(error_of([&] { resolve_run(runs, "alhpa"); }), Contains("did you mean 'alpha'?"));
}
