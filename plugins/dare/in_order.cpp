#include "in_order.h"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace colonnade::dare {

namespace {

// Beyond one slot a thread: what is finished and waits for an earlier task.
constexpr int kSpareSlots = 2;

using Step = std::function<void(std::int64_t, int)>;

class Pipeline {
 public:
  Pipeline(int threads, std::int64_t tasks, const Step& make)
      : tasks_(tasks), make_(make), finished_(static_cast<std::size_t>(slots_for(threads)), false) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }

  ~Pipeline() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void run(const Step& use) {
    const auto slots = static_cast<std::int64_t>(finished_.size());
    for (std::int64_t task = 0; task < tasks_; ++task) {
      const auto slot = static_cast<std::size_t>(task % slots);
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return finished_[slot] || failure_ != nullptr; });
        if (failure_ != nullptr) std::rethrow_exception(failure_);
      }
      use(task, static_cast<int>(slot));
      {
        const std::lock_guard lock(mutex_);
        finished_[slot] = false;
        used_ = task + 1;
      }
      changed_.notify_all();
    }
  }

 private:
  void work() {
    const auto slots = static_cast<std::int64_t>(finished_.size());
    std::unique_lock lock(mutex_);
    while (!stopped_ && next_ < tasks_) {
      const std::int64_t task = next_++;
      changed_.wait(lock, [&] { return stopped_ || task < used_ + slots; });
      if (stopped_) return;
      lock.unlock();
      std::exception_ptr failure;
      try {
        make_(task, static_cast<int>(task % slots));
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      finished_[static_cast<std::size_t>(task % slots)] = true;
      if (failure != nullptr) {
        failure_ = failure;
        stopped_ = true;
      }
      changed_.notify_all();
    }
  }

  const std::int64_t tasks_;
  const Step& make_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::vector<bool> finished_;  // by slot
  std::int64_t next_ = 0, used_ = 0;
  bool stopped_ = false;
  std::exception_ptr failure_;
  std::vector<std::thread> threads_;  // last: they start when all else is there
};

}  // namespace

int slots_for(int threads) {
  return threads <= 1 ? 1 : threads + kSpareSlots;
}

void in_order(int threads, std::int64_t tasks, const Step& make, const Step& use) {
  if (threads > 1 && tasks > 1) {
    Pipeline(threads, tasks, make).run(use);
    return;
  }
  for (std::int64_t task = 0; task < tasks; ++task) {
    make(task, 0);
    use(task, 0);
  }
}

}  // namespace colonnade::dare
