#include <catch2/catch.hpp>

#include <atomic>
#include <stdexcept>
#include <vector>

#include "plugins/dare/in_order.h"

namespace colonnade::dare {

TEST_CASE("tasks are used in their order, a slot by one task at a time, for any number of threads") {
  for (const int threads : {1, 2, 8}) {
    for (const std::int64_t tasks : {0, 1, 3, 500}) {
      std::vector<std::int64_t> memory(static_cast<std::size_t>(slots_for(threads)), -1);
      std::vector<std::int64_t> seen;
      in_order(
          threads, tasks, [&](std::int64_t task, int slot) { memory.at(static_cast<std::size_t>(slot)) = task; },
          [&](std::int64_t task, int slot) {
            CHECK(memory.at(static_cast<std::size_t>(slot)) == task);
            seen.push_back(task);
          });
      REQUIRE(seen.size() == static_cast<std::size_t>(tasks));
      for (std::int64_t i = 0; i < tasks; ++i) CHECK(seen[static_cast<std::size_t>(i)] == i);
    }
  }
}

TEST_CASE("what a task or its use throws ends all of it and reaches the caller") {
  for (const int threads : {1, 4}) {
    const auto nothing = [](std::int64_t, int) {};
    const auto fail_late = [](std::int64_t task, int) {
      if (task == 37) throw std::runtime_error("the 37th");
    };
    std::atomic<int> made = 0;
    CHECK_THROWS_WITH(in_order(
                          threads, 1000000,
                          [&](std::int64_t task, int slot) {
                            ++made;
                            fail_late(task, slot);
                          },
                          nothing),
                      "the 37th");
    CHECK(made < 100);
    CHECK_THROWS_WITH(in_order(threads, 1000000, nothing, fail_late), "the 37th");
  }
}

}  // namespace colonnade::dare
