// The data sets: small ones written by the tests, and real ones where they are.
#include <unistd.h>
#include <zlib.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "colonnade/error.h"
#include "colonnade/pictures.h"
#include "colonnade/plugin.h"
#include "colonnade/run_op.h"
#include "tests/support/plugins.h"

extern "C" {
extern const colonnade::PluginDescriptor colonnade_plugin;
}

namespace colonnade::images {
namespace {

namespace fs = std::filesystem;
using Catch::Contains;

/// A folder of its own for a test, removed at the end.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("colonnade-images-" + std::to_string(getpid()))) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  std::string write(const std::string& name, const std::string& bytes) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return (path_ / name).string();
  }
  void put(const std::string& name, const std::string& picture) const {
    fs::create_directories((path_ / name).parent_path());
    fs::copy_file(std::string(COLONNADE_TEST_SOURCE_DIR) + "/tests/oracles/images/" + picture, path_ / name);
  }
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

Value run(const std::string& op, const Json& params) {
  register_linked_plugin(colonnade_plugin);
  RunRequest request;
  request.op = "images/" + op;
  request.params = params;
  const Value value = run_op(request);
  // The same data elsewhere has to give the same value.
  if (params.contains("path") || params.contains("pictures")) {
    const std::string place = params.value("pictures", params.value("path", std::string()));
    CHECK(value.at("info").document.dump().find(place) == std::string::npos);
  }
  return value;
}

std::string message_of(const std::string& op, const Json& params) {
  try {
    run(op, params);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST_CASE("a folder's classes are read, and what cannot be used is counted and named") {
  const Folder folder;
  folder.put("train/tabby_cat/a.png", "colour.png");
  folder.put("train/tabby_cat/b.jpg", "sampled.jpg");
  folder.put("train/dog/a.png", "tall.png");
  folder.put("val/dog/a.png", "grey.png");
  folder.write("train/dog/notes.txt", "no picture");
  folder.write("train/dog/z.png", "");
  fs::create_directories(folder.path() + "/train/empty");
  const Value value = run("folder", {{"path", folder.path()}, {"size", 16}, {"resize", 20}});
  const Pictures train = pictures_from(value.at("train"));
  CHECK(train.classes == std::vector<std::string>{"dog", "empty", "tabby cat"});
  CHECK(train.labels == std::vector<std::int32_t>{0, 2, 2});
  CHECK(train.pixels.shape() == std::vector<std::int64_t>{3, 3, 16, 16});
  CHECK(pictures_from(value.at("valid")).count() == 1);
  CHECK(pictures_from(value.at("test")).count() == 0);
  const Json& skipped = value.at("info").document.at("skipped");
  CHECK(skipped.at("count") == 3);
  CHECK(skipped.at("reasons").at("an empty file") == 1);
  CHECK(skipped.at("reasons").at("the class has no file") == 1);
  CHECK_THAT(skipped.at("first").dump(), Contains("notes.txt") && Contains("neither PNG nor JPEG"));
}

TEST_CASE("a folder without published splits is split by position in each class") {
  const Folder folder;
  for (int i = 0; i < 10; ++i) folder.put("only/" + std::to_string(i) + ".png", "grey.png");
  const Value value = run("folder", {{"path", folder.path()}, {"size", 8}});
  CHECK(pictures_from(value.at("train")).count() == 7);
  CHECK(pictures_from(value.at("valid")).count() == 1);
  CHECK(pictures_from(value.at("test")).count() == 2);
  CHECK_THAT(message_of("folder", {{"path", folder.path() + "/only"}}), Contains("no folders of classes"));
  CHECK_THAT(message_of("folder", {{"path", folder.path()}, {"background", "pink"}}),
             Contains("'pink'") && Contains("#rrggbb"));
  CHECK_THAT(message_of("folder", {{"path", folder.path()}, {"mean", {0.5}}}), Contains("mean has 1"));
}

TEST_CASE("COCO's captions go to their pictures") {
  const Folder folder;
  folder.put("pictures/1.png", "colour.png");
  folder.put("pictures/2.png", "tall.png");
  const std::string path = folder.write("captions.json", R"({"images":[
    {"id":7,"file_name":"1.png"},{"id":9,"file_name":"2.png"},{"id":11,"file_name":"gone.png"},{"id":12,"file_name":"1.png"},{},{"id":13,"file_name":"../colour.png"}],
    "annotations":[{"image_id":9,"caption":"tall"},{"image_id":7,"caption":"wide"},{"image_id":9,"caption":"a tower"},
    {"image_id":11,"caption":"lost"},{"image_id":99,"caption":"nowhere"},{"caption":5},{"image_id":13,"caption":"outside"}]})");
  folder.put("colour.png", "colour.png");
  const Value value = run("coco", {{"train", path}, {"pictures", folder.path() + "/pictures"}, {"size", 8}});
  const Pictures train = pictures_from(value.at("train"));
  REQUIRE(train.texts.size() == 3);
  CHECK(train.texts[0].text == "wide");
  CHECK(train.texts[1].text == "tall");
  CHECK(train.texts[2].picture == 1);
  CHECK(value.at("info").document.at("skipped").at("count") == 6);
  // What lies outside the folder has no place in the result's key.
  CHECK(value.at("info").document.at("skipped").at("reasons").at("lies outside the folder of the pictures") == 1);
  CHECK_THAT(message_of("coco", {{"pictures", folder.path()}}), Contains("none of train, valid and test"));
  CHECK_THAT(message_of("coco", {{"train", folder.write("x.json", "[")}, {"pictures", folder.path()}}),
             Contains("x.json:1: is no JSON"));
}

TEST_CASE("the best pairs of a caption list are kept, in its order, and broken lines counted") {
  const Folder folder;
  folder.put("a.png", "colour.png");
  const std::string path =
      folder.write("list.tsv",
                   "first\ta.png\t0.9\nsecond\ta.png\t0.71\r\nlow\ta.png\t0.7\n\nno tab\n\ta.png\t1\nodd\ta.png\t0.8x\n"
                   "third\ta.png\t1.2\noutside\t/a.png\t3\nup\tx/../../"
                   "a.png\t3\nmissing\tb.png\t2\nunscored\ta.png\nnan\ta.png\tnan\n");
  const auto captions = [&](const Json& more) {
    Json params = {{"train", path}, {"pictures", folder.path()}, {"size", 8}};
    params.update(more);
    const Value value = run("conceptual", params);
    std::vector<std::string> texts;
    for (const PictureText& text : pictures_from(value.at("train")).texts) texts.push_back(text.text);
    return std::pair{texts, value.at("info").document};
  };
  const auto [above, info] = captions({{"above", 0.7}});
  CHECK(above == std::vector<std::string>{"first", "second", "third"});
  CHECK(info.at("filtered") == 1);
  CHECK(info.at("skipped").at("count") == 9);
  CHECK(captions({{"above", 0.7}, {"best", 3}}).first == std::vector<std::string>{"first", "third"});
  CHECK(captions(Json::object()).first == std::vector<std::string>{"first", "second", "low", "third", "unscored"});
}

TEST_CASE("a picture on several lines of a caption list is one with several captions") {
  const Folder folder;
  folder.put("a.png", "colour.png");
  folder.put("b.png", "tall.png");
  const std::string path =
      folder.write("list.tsv", "first\ta.png\ntall\tb.png\nsecond\t./a.png\nlost\tc.png\nlost\tc.png\n");
  const Value value = run("conceptual", {{"train", path}, {"pictures", folder.path()}, {"size", 8}});
  const Pictures train = pictures_from(value.at("train"));
  CHECK(train.pixels.shape()[0] == 2);
  std::vector<std::int64_t> owners;
  for (const PictureText& text : train.texts) owners.push_back(text.picture);
  CHECK(owners == std::vector<std::int64_t>{0, 1, 0});
  CHECK(value.at("info").document.at("skipped").at("count") == 2);
}

TEST_CASE("CIFAR's binaries are read as planes of colours") {
  const Folder folder;
  folder.write("fine_label_names.txt", "apple\nred_fox\n");
  const auto record = [](int coarse, int fine, int red) {
    return std::string(1, static_cast<char>(coarse)) + std::string(1, static_cast<char>(fine)) +
           std::string(1024, static_cast<char>(red)) + std::string(1024, '\x02') + std::string(1024, '\x03');
  };
  folder.write("train.bin", record(5, 1, 9) + record(5, 0, 8) + record(5, 2, 7));
  folder.write("test.bin", record(5, 0, 6));
  const Value value = run("cifar", {{"path", folder.path()}});
  const Pictures train = pictures_from(value.at("train")), valid = pictures_from(value.at("valid"));
  CHECK(train.labels == std::vector<std::int32_t>{0});
  CHECK(valid.labels == std::vector<std::int32_t>{1});
  CHECK(valid.classes[1] == "red fox");
  CHECK(valid.pixels.as<std::uint8_t>()[0] == 9);
  CHECK(valid.pixels.as<std::uint8_t>()[1024] == 2);
  CHECK(value.at("info").document.at("skipped").at("count") == 1);
  folder.write("test.bin", "short");
  CHECK_THAT(message_of("cifar", {{"path", folder.path()}}), Contains("test.bin") && Contains("whole records of 3074"));
}

TEST_CASE("digits are read from packed lines, and broken lines counted") {
  const Folder folder;
  std::string lines, dark;
  for (int i = 0; i < 64; ++i) dark += i == 0 ? "16.0" : ",0.0";
  lines = dark + ",3\n" + dark + ",12\n1,2,3\n" + dark + ",8\n";
  const std::string path = folder.path() + "/digits.csv.gz";
  const gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, lines.data(), static_cast<unsigned>(lines.size()));
  gzclose(file);
  std::ifstream whole(path, std::ios::binary);
  const std::string packed((std::istreambuf_iterator<char>(whole)), {});
  for (const std::size_t length : {packed.size() - 9, packed.size() / 2}) {
    const std::string cut = folder.write("cut.csv.gz", packed.substr(0, length));
    CHECK_THAT(message_of("digits", {{"path", cut}}), Contains("cut.csv.gz") && Contains("truncated"));
  }
  const Value value = run("digits", {{"path", path}, {"size", 8}});
  const Pictures train = pictures_from(value.at("train"));
  CHECK(train.labels == std::vector<std::int32_t>{3, 8});
  CHECK(train.classes[8] == "eight");
  CHECK(train.pixels.as<std::uint8_t>()[0] == 255);
  CHECK(train.pixels.as<std::uint8_t>()[1] == 0);
  CHECK_THAT(value.at("info").document.at("skipped").at("first").dump(), Contains("line 2") && Contains("line 3"));
}

TEST_CASE("questions go to pictures with the number of their answer") {
  const Folder folder;
  folder.write("answers.txt", "yes\nno\n");
  folder.put("train/images/0.png", "colour.png");
  folder.put("train/images/1.png", "tall.png");
  folder.write("train/questions.json",
               R"([["is it?","no",0],["was it?","yes",0],["how?","maybe",1],["is it?","yes",1],["lost?","no",2],[1]])");
  const Value value = run("vqa", {{"path", folder.path()}, {"size", 8}});
  const Pictures train = pictures_from(value.at("train"));
  REQUIRE(train.texts.size() == 3);
  CHECK(train.texts[0].answer == 1);
  CHECK(train.texts[2].picture == 1);
  CHECK(value.at("info").document.at("skipped").at("count") == 3);
  CHECK(pictures_from(run("vqa", {{"path", folder.path()}, {"limit", 1}}).at("train")).texts.size() == 2);
  CHECK(pictures_from(value.at("valid")).count() == 0);
  std::string questions;
  for (int i = 0; i < 20; ++i) {
    if (i > 1) folder.put("train/images/" + std::to_string(i) + ".png", "colour.png");
    questions += (i == 0 ? "[" : ",") + ("[\"is it?\",\"no\"," + std::to_string(i) + "]");
  }
  folder.write("train/questions.json", questions + "]");
  const auto counts = [&] {
    const Value parts = run("vqa", {{"path", folder.path()}, {"size", 8}});
    return std::pair(pictures_from(parts.at("train")).count(), pictures_from(parts.at("valid")).count());
  };
  CHECK(counts() == std::pair<std::int64_t, std::int64_t>(18, 2));
  folder.put("valid/images/0.png", "colour.png");
  folder.write("valid/questions.json", R"([["is it?","no",0]])");
  CHECK(counts() == std::pair<std::int64_t, std::int64_t>(20, 1));
}

TEST_CASE("a damaged font is refused wherever the damage is", "[needs]") {
  const char* font = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf";
  const char* names = "/usr/share/unicode/emoji/emoji-test.txt";
  if (!fs::exists(font) || !fs::exists(names)) {
    WARN("skipped: Debian's fonts-noto-color-emoji or unicode-data is not installed");
    return;
  }
  const Value value = run("emoji", {{"font", font}, {"names", names}, {"size", 16}});
  const Json& info = value.at("info").document;
  CHECK(info.at("train").get<int>() > 2000);
  CHECK(info.at("skipped").at("count").get<int>() < 100);
  const Pictures train = pictures_from(value.at("train"));
  REQUIRE(train.texts.front().text == "grinning face");
  // A yellow disc on white.
  const std::uint8_t* pixels = train.pixels.as<std::uint8_t>();
  CHECK(pixels[0] == 255);
  const auto middle = [&](int channel) { return static_cast<int>(pixels[channel * 256 + 4 * 16 + 8]); };
  CHECK(middle(0) > 200);
  CHECK(middle(2) < 120);
  CHECK_THAT(message_of("emoji", {{"font", names}, {"names", names}}), Contains("emoji-test.txt: the font"));
  CHECK_THAT(message_of("emoji", {{"font", font}, {"names", std::string(COLONNADE_TEST_SOURCE_DIR) + "/LICENSE"}}),
             Contains("no line of a fully-qualified emoji"));
}

}  // namespace
}  // namespace colonnade::images
