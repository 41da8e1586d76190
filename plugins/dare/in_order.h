// Work on numbered tasks by several threads, its results taken in the tasks' order by the one that called.
#pragma once

#include <cstdint>
#include <functional>

namespace colonnade::dare {

/// Calls make(task, slot) for tasks 0 .. tasks - 1 on `threads` threads, and use(task, slot) after each in ascending
/// order on this one. A slot, below slots_for(threads), belongs to one task from the start of its `make` to the end of
/// its `use`, so that memory can be kept by slot. What `make` or `use` throws ends all and is thrown here.
void in_order(int threads, std::int64_t tasks, const std::function<void(std::int64_t task, int slot)>& make,
              const std::function<void(std::int64_t task, int slot)>& use);

int slots_for(int threads);

}  // namespace colonnade::dare
