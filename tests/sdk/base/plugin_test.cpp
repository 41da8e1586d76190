#define COLONNADE_PLUGIN_NAME "sample"
#define COLONNADE_PLUGIN_VERSION "1.2.3"
#define COLONNADE_PLUGIN_TORCH "none"
#define COLONNADE_PLUGIN_REQUIRES "one;two"
#define COLONNADE_PLUGIN_EXTENDS ""
#include "colonnade/plugin.h"

#include <catch2/catch.hpp>
#include <stdexcept>

using namespace colonnade;

namespace {

void register_sample(Registrar& registrar) {
  registrar.op("double")
      .doc("Doubles a number.")
      .input("number", "scalar", "What is doubled.")
      .output("result", "scalar", "Twice the number.")
      .run([](OpContext& context) {
        Scalar number = scalar_from(context.input("number"));
        number.value *= 2;
        Value value;
        value.fields.emplace("result", to_field(number));
        return value;
      });
}

std::string message_of(RegisterFunction function) {
  Registrar registrar("sample");
  char* message = guarded_register(function, &registrar);
  if (message == nullptr) return "";
  const std::string text = message;
  release_message(message);
  return text;
}

}  // namespace

COLONNADE_PLUGIN(register_sample);

TEST_CASE("the macro writes a descriptor that registers the ops") {
  CHECK(colonnade_plugin.size == sizeof(PluginDescriptor));
  CHECK(colonnade_plugin.sdk_abi == COLONNADE_SDK_ABI);
  CHECK(std::string(colonnade_plugin.name) == "sample");
  CHECK(std::string(colonnade_plugin.version) == "1.2.3");
  Registrar registrar("sample");
  REQUIRE(colonnade_plugin.register_plugin(&registrar) == nullptr);
  Registry::instance().commit(std::move(registrar));
  CHECK(Registry::instance().find_op("sample/double") != nullptr);
}

TEST_CASE("the macro writes a stamp of one key and value a line") {
  const std::string stamp = colonnade_stamp_text;
  CHECK(stamp ==
        "colonnade-stamp=1\nname=sample\nversion=1.2.3\nabi=" + std::to_string(COLONNADE_SDK_ABI) +
            "\nabi_type=cpp\ntorch=none\ncompiler=" COLONNADE_COMPILER "\nstandard=" + std::to_string(__cplusplus) +
            "L\ncxx11_abi=" + std::to_string(_GLIBCXX_USE_CXX11_ABI) + "\nrequires=one;two\nextends=\n");
}

TEST_CASE("whatever a registration throws becomes a message") {
  CHECK(message_of([](Registrar&) {}).empty());
  CHECK(message_of([](Registrar&) { throw std::runtime_error("no licence"); }) == "no licence");
  CHECK(message_of([](Registrar&) { throw Error(ErrorKind::environment, "no disk"); }) == "no disk");
  CHECK(message_of([](Registrar&) { throw 3; }) == "it threw something that is not a std::exception");
}
