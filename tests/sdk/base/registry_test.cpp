#include "colonnade/registry.h"

#include <catch2/catch.hpp>

#include "colonnade/error.h"

using namespace colonnade;

namespace {

Value nothing(OpContext&) {
  return {};
}

OpDeclaration& declare(Registrar& registrar, const std::string& name) {
  return registrar.op(name).doc("For a test.").output("result", "record", "A record.").run(nothing);
}

std::shared_ptr<const void> object() {
  return std::make_shared<const int>(3);
}

// A failed commit leaves nothing of the registrar behind.
void check_refused(Registrar&& registrar, const std::string& message) {
  Registry& registry = Registry::instance();
  const std::size_t ops_before = registry.ops().size();
  const std::size_t provided_before = registry.provided_ids("test_kind").size();
  try {
    registry.commit(std::move(registrar));
    FAIL("it was accepted");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::environment);
    CHECK_THAT(error.what(), Catch::Matchers::Equals(message));
  }
  CHECK(registry.ops().size() == ops_before);
  CHECK(registry.provided_ids("test_kind").size() == provided_before);
}

}  // namespace

TEST_CASE("what is registered is found") {
  Registrar registrar("found");
  declare(registrar, "one").version(2).random().measured().any_device().time_limit(5);
  declare(registrar, "two").example("col.two {}").tolerant(1e-3).work("1").bytes("2").memory("3");
  const auto provided = object();
  registrar.provide("found_kind", "found/type@1", provided);
  Registry& registry = Registry::instance();
  registry.commit(std::move(registrar));

  const RegisteredOp* one = registry.find_op("found/one");
  REQUIRE(one != nullptr);
  CHECK(one->schema.version == 2);
  CHECK(one->schema.random);
  CHECK_FALSE(one->schema.fixed_stream);
  CHECK(one->schema.op_class == OpClass::measured);
  CHECK(one->schema.device == "any");
  CHECK(one->schema.time_limit == 5);
  const RegisteredOp* two = registry.find_op("found/two");
  REQUIRE(two != nullptr);
  CHECK(two->schema.op_class == OpClass::tolerant);
  CHECK(two->schema.epsilon == 1e-3);
  CHECK(two->schema.example == "col.two {}");
  CHECK(two->schema.work == "1");
  CHECK(two->schema.bytes == "2");
  CHECK(two->schema.memory == "3");
  CHECK(registry.find_op("found/three") == nullptr);

  REQUIRE(registry.find_provided("found_kind", "found/type@1") != nullptr);
  CHECK(registry.find_provided("found_kind", "found/type@1")->object == provided);
  CHECK(registry.find_provided("found_kind", "found/type@1")->plugin == "found");
  CHECK(registry.find_provided("other_kind", "found/type@1") == nullptr);
  CHECK(registry.provided_ids("found_kind") == std::vector<std::string>{"found/type@1"});
}

TEST_CASE("declarations stay valid while more ops are declared") {
  Registrar registrar("many");
  OpDeclaration& first = declare(registrar, "first");
  for (int i = 0; i < 100; ++i) declare(registrar, "op_" + std::to_string(i));
  first.version(7);
  Registry::instance().commit(std::move(registrar));
  CHECK(Registry::instance().find_op("many/first")->schema.version == 7);
}

TEST_CASE("a registration takes effect whole or not at all") {
  Registrar twice("twice");
  declare(twice, "fine");
  declare(twice, "again");
  declare(twice, "again");
  twice.provide("test_kind", "twice", object());
  check_refused(std::move(twice), "plugin 'twice' registers the op 'twice/again' twice");

  Registrar wrong("wrong");
  declare(wrong, "fine");
  declare(wrong, "bad").doc("");
  check_refused(std::move(wrong), "the schema of op 'wrong/bad' is wrong: it has no doc");

  Registrar idle("idle");
  declare(idle, "fine");
  idle.op("does_nothing").doc("For a test.").output("result", "record", "A record.");
  check_refused(std::move(idle), "the op 'idle/does_nothing' was declared without run(...)");
}

TEST_CASE("what two plugins register alike is named with both") {
  Registrar first("first");
  declare(first, "op");
  first.provide("test_kind", "shared", object());
  Registry::instance().commit(std::move(first));

  Registrar same_op("first");
  declare(same_op, "another");
  declare(same_op, "op");
  check_refused(std::move(same_op), "the op 'first/op' of plugin 'first' is already registered by plugin 'first'");

  Registrar second("second");
  declare(second, "op");
  second.provide("test_kind", "shared", object());
  check_refused(std::move(second), "test_kind 'shared' is provided by plugin 'second' and by plugin 'first'");
  CHECK(Registry::instance().find_op("second/op") == nullptr);
}

TEST_CASE("a plugin that provides one thing twice, or nothing, is told at once") {
  Registrar registrar("double");
  registrar.provide("test_kind", "double", object());
  CHECK_THROWS_WITH(registrar.provide("test_kind", "double", object()),
                    "plugin 'double' provides test_kind 'double' twice");
  CHECK_THROWS_WITH(registrar.provide("test_kind", "empty", nullptr),
                    "plugin 'double' provides nothing as test_kind 'empty'");
}

TEST_CASE("worker services are kept in order") {
  const std::size_t before = worker_services().size();
  int set_up_with = 0;
  register_worker_service({"test", [&](int threads) { set_up_with = threads; }, [] { return std::string("state"); }});
  REQUIRE(worker_services().size() == before + 1);
  worker_services().back().set_up(3);
  CHECK(set_up_with == 3);
  CHECK(worker_services().back().generator_state() == "state");
}
