#include "drop_files.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "colonnade/error.h"
#include "drop.h"
#include "in_order.h"

namespace colonnade::dare {

namespace {

// What of a task is worked on at once: it stays in a core's own cache.
constexpr std::int64_t kBlock = 1 << 14;

// Which elements a task keeps, when sizes decide.
struct SizeCut {
  std::uint64_t key = 0;    // of the largest that is dropped
  std::int64_t equals = 0;  // so many of that size are dropped, the first ones
  bool none = true;         // nothing is dropped
};

// The order of |value| as integers.
std::uint64_t size_key(float value) {
  return std::bit_cast<std::uint32_t>(value) & 0x7FFFFFFFU;
}
std::uint64_t size_key(double value) {
  return std::bit_cast<std::uint64_t>(value) & 0x7FFFFFFFFFFFFFFFU;
}

// One slot's memory.
template <typename Real>
struct Memory {
  std::vector<Real> base = std::vector<Real>(kBlock), values = std::vector<Real>(kBlock);
  std::vector<std::byte> raw = std::vector<std::byte>(kBlock * sizeof(double));
  std::unique_ptr<bool[]> keep = std::make_unique<bool[]>(kBlock);
  std::vector<std::byte> out;
  DropCounts counts;
  std::int64_t equals = 0;
  std::vector<std::uint32_t> bins;
};

template <typename Real>
class TensorDrop {
 public:
  TensorDrop(const FileDrop& drop, const DareOptions& options, int threads)
      : drop_(drop),
        options_(options),
        threads_(threads),
        tasks_((drop.elements + kTaskElements - 1) / kTaskElements),
        memory_(static_cast<std::size_t>(slots_for(threads))) {}

  FileDropped run(const std::function<void(const std::byte*, std::size_t)>& write) {
    if (options_.strategy == Strategy::magnitude) {
      find_size_cut();
    } else {
      rule_ = {drop_.numbers, word_threshold(options_.rate), 0};
      if (options_.exact) use_exact_cut();
    }
    FileDropped result;
    if (options_.rescale == Rescale::inverse_keep && options_.rate < 1) result.factor = 1 / (1 - options_.rate);
    if (options_.rescale == Rescale::l1) result.factor = l1_factor();
    std::int64_t kept = 0;
    in_order(
        threads_, tasks_, [&](std::int64_t task, int slot) { make_output(task, of(slot), result.factor); },
        [&](std::int64_t, int slot) {
          kept += of(slot).counts.kept;
          write(of(slot).out.data(), of(slot).out.size());
        });
    require_unthinned();
    result.dropped = drop_.elements - kept;
    return result;
  }

 private:
  Memory<Real>& of(int slot) { return memory_[static_cast<std::size_t>(slot)]; }

  // Calls act(first element, count, base) for the blocks of a task, with the difference in `memory`.
  template <typename Act>
  void each_block(std::int64_t task, Memory<Real>& memory, Act act) const {
    const std::int64_t end = std::min(drop_.elements, (task + 1) * kTaskElements);
    for (const FileTensor* tensor : {&drop_.base, &drop_.tuned}) {
      const std::uint64_t size = size_of(tensor->type), start = static_cast<std::uint64_t>(task * kTaskElements) * size;
      tensor->file->expect(tensor->begin + start, static_cast<std::uint64_t>(end) * size - start);
    }
    for (std::int64_t first = task * kTaskElements; first < end; first += kBlock) {
      const std::int64_t count = std::min(kBlock, end - first);
      const Real* base = numbers(drop_.base, first, count, memory, memory.base.data());
      const Real* tuned = numbers(drop_.tuned, first, count, memory, memory.values.data());
      if (!subtract(tuned, base, count, memory.values.data())) {
        refuse("differs from the base by a NaN or an infinity");
      }
      act(first, count, base);
    }
  }

  // Where they lie, if that is how they are computed with; else in `memory`.
  const Real* numbers(const FileTensor& tensor, std::int64_t first, std::int64_t count, Memory<Real>& all,
                      Real* memory) const {
    const std::uint64_t size = size_of(tensor.type), offset = tensor.begin + static_cast<std::uint64_t>(first) * size;
    const std::byte* bytes = tensor.file->at(offset);
    const bool as_is = tensor.type == (std::is_same_v<Real, double> ? Number::f64 : Number::f32);
    if (reinterpret_cast<std::uintptr_t>(bytes) % size != 0) {
      std::memcpy(all.raw.data(), bytes, static_cast<std::size_t>(count) * size);
      bytes = all.raw.data();
    } else if (as_is) {
      return reinterpret_cast<const Real*>(bytes);
    }
    widen(tensor.type, bytes, count, memory);
    return memory;
  }

  // Zeroes what is dropped and scales the rest, which it counts; sums of sizes too with `norms`.
  void thin(std::int64_t first, std::int64_t count, double factor, bool norms, Memory<Real>& memory) const {
    Real* values = memory.values.data();
    bool* keep = memory.keep.get();
    const auto scale = static_cast<Real>(factor);
    DropCounts& counts = memory.counts;
    if (options_.strategy == Strategy::magnitude) {
      keep_largest(count, memory);
      drop_decided(keep, count, scale, norms, values, counts);
      return;
    }
    drop_elements<Real>(rule_, {static_cast<std::uint64_t>(first), count, values, nullptr, values, keep}, scale, norms,
                        counts);
    auto tie = std::lower_bound(ties_.begin(), ties_.end(), static_cast<std::uint64_t>(first));
    for (; tie != ties_.end() && *tie < static_cast<std::uint64_t>(first + count); ++tie) {
      Real& value = values[static_cast<std::int64_t>(*tie) - first];
      if (norms) counts.after -= std::abs(static_cast<double>(value));
      value = 0;
      --counts.kept;
    }
  }

  void keep_largest(std::int64_t count, Memory<Real>& memory) const {
    for (std::int64_t i = 0; i < count; ++i) {
      const std::uint64_t key = size_key(memory.values[static_cast<std::size_t>(i)]);
      bool dropped = !size_cut_.none && key < size_cut_.key;
      if (!size_cut_.none && key == size_cut_.key) dropped = memory.equals++ < size_cut_.equals;
      memory.keep[static_cast<std::size_t>(i)] = !dropped;
    }
  }

  void start(std::int64_t task, Memory<Real>& memory) const {
    memory.counts = {};
    if (!equals_before_.empty()) memory.equals = equals_before_[static_cast<std::size_t>(task)];
  }

  static std::int64_t nonzero(const Real* values, std::int64_t count) {
    return std::count_if(values, values + count, [](Real value) { return value != 0; });
  }

  // Files hold no history: where the same numbers thinned them before, what is left would be rescaled twice.
  void require_unthinned() const {
    if (options_.strategy != Strategy::uniform || !beyond_chance(survivors_, witnesses_, 1 - options_.rate)) return;
    refuse("was thinned by the same numbers before: of " + std::to_string(witnesses_) +
           " differences that are not zero, " + std::to_string(survivors_) + " survive at rate " +
           std::to_string(options_.rate) +
           "; thin the files of before at the rate wanted in all, or draw with another "
           "`seed`");
  }

  void make_output(std::int64_t task, Memory<Real>& memory, double factor) {
    start(task, memory);
    const std::size_t size = size_of(drop_.tuned.type);
    const std::int64_t here = std::min(kTaskElements, drop_.elements - task * kTaskElements);
    memory.out.resize(static_cast<std::size_t>(here) * size);
    std::byte* out = memory.out.data();
    each_block(task, memory, [&](std::int64_t first, std::int64_t count, const Real* base) {
      if (first == 0) witnesses_ = nonzero(memory.values.data(), count);
      thin(first, count, factor, false, memory);
      if (first == 0) survivors_ = nonzero(memory.values.data(), count);
      if (!add_narrow(drop_.tuned.type, base, memory.values.data(), count, out)) {
        refuse("is no finite number of its type any more when its difference is scaled by " + std::to_string(factor));
      }
      out += static_cast<std::size_t>(count) * size;
    });
  }

  double l1_factor() {
    DropCounts all;
    in_order(
        threads_, tasks_,
        [&](std::int64_t task, int slot) {
          Memory<Real>& memory = of(slot);
          start(task, memory);
          each_block(task, memory,
                     [&](std::int64_t first, std::int64_t count, const Real*) { thin(first, count, 1, true, memory); });
        },
        [&](std::int64_t, int slot) {
          all.before += of(slot).counts.before;
          all.after += of(slot).counts.after;
        });
    return all.before > 0 && all.after > 0 ? all.before / all.after : 1;
  }

  void use_exact_cut() {
    const auto count = static_cast<std::uint64_t>(drop_.elements);
    const double wanted = options_.rate * static_cast<double>(drop_.elements);
    ExactCut cut = exact_cut(drop_.numbers, count, static_cast<std::uint64_t>(std::llround(wanted)));
    rule_.threshold = cut.threshold;
    ties_ = std::move(cut.ties);
    std::sort(ties_.begin(), ties_.end());
  }

  // The key of the element that a sort by size puts at `dropped` - 1: found digit by digit.
  void find_size_cut() {
    const std::int64_t dropped = std::llround(options_.rate * static_cast<double>(drop_.elements));
    if (dropped == 0) return;
    constexpr int digit_bits = 16, digits = sizeof(Real) * 8 / digit_bits;
    std::uint64_t prefix = 0;
    std::int64_t rest = dropped;
    for (int digit = digits - 1; digit >= 0; --digit) {
      const int shift = digit * digit_bits;
      const std::vector<std::int64_t> bins = count_digits(prefix, shift, digit == digits - 1);
      std::uint64_t found = 0;
      while (rest > bins[found]) rest -= bins[found++];
      prefix = prefix << digit_bits | found;
    }
    size_cut_ = {prefix, rest, false};
    count_equals();
  }

  std::vector<std::int64_t> count_digits(std::uint64_t prefix, int shift, bool first_digit) {
    constexpr int digit_bits = 16;
    constexpr std::size_t bins = std::size_t{1} << digit_bits;
    std::vector<std::int64_t> all(bins);
    in_order(
        threads_, tasks_,
        [&](std::int64_t task, int slot) {
          Memory<Real>& memory = of(slot);
          memory.bins.assign(bins, 0);
          each_block(task, memory, [&](std::int64_t, std::int64_t count, const Real*) {
            for (std::int64_t i = 0; i < count; ++i) {
              const std::uint64_t key = size_key(memory.values[static_cast<std::size_t>(i)]) >> shift;
              if (first_digit || key >> digit_bits == prefix) ++memory.bins[key % bins];
            }
          });
        },
        [&](std::int64_t, int slot) {
          for (std::size_t i = 0; i < bins; ++i) all[i] += of(slot).bins[i];
        });
    return all;
  }

  void count_equals() {
    std::int64_t before = 0;
    in_order(
        threads_, tasks_,
        [&](std::int64_t task, int slot) {
          Memory<Real>& memory = of(slot);
          memory.equals = 0;
          each_block(task, memory, [&](std::int64_t, std::int64_t count, const Real*) {
            for (std::int64_t i = 0; i < count; ++i) {
              memory.equals += size_key(memory.values[static_cast<std::size_t>(i)]) == size_cut_.key ? 1 : 0;
            }
          });
        },
        [&](std::int64_t, int slot) {
          equals_before_.push_back(before);
          before += of(slot).equals;
        });
  }

  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorKind::input, drop_.tuned.file->header().path + ": tensor '" + drop_.tensor + "' " + what);
  }

  const FileDrop& drop_;
  const DareOptions& options_;
  const int threads_;
  const std::int64_t tasks_;
  std::vector<Memory<Real>> memory_;  // by slot
  ElementRule rule_;
  std::vector<std::uint64_t> ties_;
  SizeCut size_cut_;
  std::vector<std::int64_t> equals_before_;     // by task
  std::int64_t witnesses_ = 0, survivors_ = 0;  // not zero in the first block, before and after
};

}  // namespace

FileDropped drop_file_tensor(const FileDrop& drop, const DareOptions& options, int threads,
                             const std::function<void(const std::byte*, std::size_t)>& write) {
  const bool wide = drop.base.type == Number::f64 || drop.tuned.type == Number::f64;
  if (wide) return TensorDrop<double>(drop, options, threads).run(write);
  return TensorDrop<float>(drop, options, threads).run(write);
}

}  // namespace colonnade::dare
