#include "pytorch_file.h"

#include <ATen/Functions.h>
#include <caffe2/serialize/inline_container.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "colonnade/error.h"
#include "colonnade/tensor/safetensors.h"
#include "pickle.h"

namespace colonnade {
namespace {

using caffe2::serialize::PyTorchStreamReader;

constexpr std::size_t kMostDimensions = 16;

[[noreturn]] void refuse(const std::string& path, const std::string& reason) {
  throw Error(ErrorKind::input, path + ": " + reason);
}

/// A tensor as the pickle describes it: a view of a storage.
struct Stored {
  std::string storage;
  std::int64_t offset = 0;
  std::vector<std::int64_t> strides;
};

const std::map<std::string, at::ScalarType>& storage_types() {
  static const std::map<std::string, at::ScalarType> types = {
      {"torch.DoubleStorage", at::kDouble},     {"torch.FloatStorage", at::kFloat}, {"torch.HalfStorage", at::kHalf},
      {"torch.BFloat16Storage", at::kBFloat16}, {"torch.LongStorage", at::kLong},   {"torch.IntStorage", at::kInt},
      {"torch.ShortStorage", at::kShort},       {"torch.CharStorage", at::kChar},   {"torch.ByteStorage", at::kByte},
      {"torch.BoolStorage", at::kBool}};
  return types;
}

/// Runs `read`, saying whose fault it is where LibTorch's reader of archives finds one.
template <typename Read>
auto guarded(const std::string& path, const std::string& what, const Read& read) {
  try {
    return read();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    const std::string text = error.what();
    refuse(path, what + " cannot be read, the file is damaged or truncated: " + text.substr(0, text.find('\n')));
  }
}

class PytorchFile final : public WeightFile {
 public:
  explicit PytorchFile(const std::string& path) : WeightFile(path) {
    check_beginning();
    size_ = std::filesystem::file_size(path);
    guarded(path, "its archive", [&] {
      reader_ = std::make_unique<PyTorchStreamReader>(path);
      if (!reader_->hasRecord("data.pkl")) refuse(path, "not a file of PyTorch's: its archive has no data.pkl");
      check_byte_order();
      read_dictionary();
    });
  }

  Tensor read(const std::string& name) const override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) refuse(path_, "has no tensor '" + name + "'");
    const Stored& stored = stored_.at(name);
    const std::string what = "tensor '" + name + "'";
    return guarded(path_, what, [&] {
      auto [bytes, size] = reader_->getRecord("data/" + stored.storage);
      const auto elements = static_cast<std::int64_t>(size / c10::elementSize(found->second.type));
      const Tensor storage = at::from_blob(bytes.get(), {elements}, at::TensorOptions().dtype(found->second.type));
      return storage.as_strided(found->second.shape, stored.strides, stored.offset).clone(at::MemoryFormat::Contiguous);
    });
  }

 private:
  void read_dictionary() {
    const PickleRef root = read_pickle(record("data.pkl"), path_);
    const auto* dictionary = root->as<PickleDict>();
    if (dictionary == nullptr) refuse(path_, "it holds no dictionary of tensors");
    for (const auto& [key, value] : dictionary->entries) {
      const auto* name = key->as<std::string>();
      if (name == nullptr) refuse(path_, "it holds a dictionary whose keys are no names of tensors");
      add_tensor(*name, *value);
    }
  }

  void check_beginning() const {
    std::ifstream stream(path_, std::ios::binary);
    if (!stream) refuse(path_, std::string("cannot be opened: ") + std::strerror(errno));
    char first[2] = {};
    stream.read(first, sizeof first);
    if (stream && first[0] == 'P' && first[1] == 'K') return;
    if (stream && first[0] == '\x80') {
      refuse(path_, "is written as PyTorch before 1.6 did; load and save it with a newer one, or as safetensors");
    }
    refuse(path_, "is neither safetensors nor an archive of PyTorch's");
  }

  void check_byte_order() const {
    if (!reader_->hasRecord("byteorder")) return;
    const std::string order = record("byteorder");
    if (order != "little") refuse(path_, "its numbers are stored '" + order + "', only 'little' is read");
  }

  std::string record(const std::string& name) const {
    return guarded(path_, "its record " + name, [&] {
      // A packed record may claim any size.
      if (reader_->getRecordSize(name) > size_)
        refuse(path_, "its record " + name + " claims to be larger than the file");
      const auto [bytes, size] = reader_->getRecord(name);
      return std::string(static_cast<const char*>(bytes.get()), size);
    });
  }

  static std::vector<std::int64_t> integers(const PickleValue& tuple, bool& good) {
    std::vector<std::int64_t> out;
    const auto* items = tuple.as<PickleTuple>();
    good = good && items != nullptr && items->items.size() <= kMostDimensions;
    for (std::size_t i = 0; good && i < items->items.size(); ++i) {
      const auto* number = items->items[i]->as<std::int64_t>();
      good = number != nullptr && *number >= 0;
      if (good) out.push_back(*number);
    }
    return out;
  }

  void add_tensor(const std::string& name, const PickleValue& value) {
    const auto* call = value.as<PickleCall>();
    if (call == nullptr) refuse(path_, "its entry '" + name + "' is no tensor");
    const auto& arguments = call->arguments->as<PickleTuple>()->items;
    if (call->function.name == "_rebuild_parameter") {
      if (arguments.empty()) refuse(path_, "its parameter '" + name + "' is damaged");
      return add_tensor(name, *arguments[0]);
    }
    constexpr std::size_t kNeeded = 4;  // storage, offset, shape, strides
    bool good = arguments.size() >= kNeeded && arguments[1]->as<std::int64_t>() != nullptr;
    WeightEntry entry;
    Stored stored;
    std::int64_t elements = 0;
    if (good) {
      stored.offset = *arguments[1]->as<std::int64_t>();
      entry.shape = integers(*arguments[2], good);
      stored.strides = integers(*arguments[3], good);
      good = good && stored.offset >= 0 && entry.shape.size() == stored.strides.size();
    }
    if (!good || !read_storage(*arguments[0], entry.type, stored.storage, elements)) {
      refuse(path_, "its tensor '" + name + "' is described in a way that is not known");
    }
    check_inside(name, entry, stored, elements);
    if (!tensors_.emplace(name, entry).second) refuse(path_, "it names tensor '" + name + "' twice");
    stored_.emplace(name, std::move(stored));
  }

  /// ("storage", type, key, device, elements)
  static bool read_storage(const PickleValue& value, at::ScalarType& type, std::string& key, std::int64_t& elements) {
    const auto* persistent = value.as<PicklePersistent>();
    const auto* tuple = persistent == nullptr ? nullptr : persistent->key->as<PickleTuple>();
    constexpr std::size_t kParts = 5;
    if (tuple == nullptr || tuple->items.size() != kParts) return false;
    const auto* kind = tuple->items[0]->as<std::string>();
    const auto* global = tuple->items[1]->as<PickleGlobal>();
    const auto* name = tuple->items[2]->as<std::string>();
    const auto* count = tuple->items[4]->as<std::int64_t>();
    if (kind == nullptr || *kind != "storage" || global == nullptr || name == nullptr || count == nullptr) return false;
    const auto found = storage_types().find(global->full());
    if (found == storage_types().end()) return false;
    type = found->second;
    key = *name;
    elements = *count;
    return true;
  }

  void check_inside(const std::string& name, const WeightEntry& entry, const Stored& stored,
                    std::int64_t elements) const {
    const std::string what = "its tensor '" + name + "'";
    const std::string record = "data/" + stored.storage;
    if (!reader_->hasRecord(record)) refuse(path_, what + " lies in " + record + ", which the archive does not have");
    const std::size_t bytes = reader_->getRecordSize(record);
    const std::size_t element = c10::elementSize(entry.type);
    if (bytes > size_ || elements < 0 || bytes / element < static_cast<std::size_t>(elements)) {
      refuse(path_, what + " lies in " + record + " of " + std::to_string(bytes) + " bytes, which has no room for " +
                        std::to_string(elements) + " elements: it is truncated or damaged");
    }
    std::int64_t last = stored.offset;
    bool overflow = false, empty = false;
    for (std::size_t i = 0; i < entry.shape.size(); ++i) {
      std::int64_t step = 0;
      empty = empty || entry.shape[i] == 0;
      overflow = overflow || __builtin_mul_overflow(entry.shape[i] - 1, stored.strides[i], &step) ||
                 __builtin_add_overflow(last, step, &last);
    }
    // Strides of zero would let a small file ask for any amount of memory.
    std::int64_t count = 1;
    for (const std::int64_t extent : entry.shape) overflow = overflow || __builtin_mul_overflow(count, extent, &count);
    if (empty) return;
    if (overflow || last >= elements || count > elements) {
      refuse(path_, what + " of shape " + shape_text(entry.shape) + " does not fit into the " +
                        std::to_string(elements) + " elements of " + record);
    }
  }

  std::uint64_t size_ = 0;
  std::unique_ptr<PyTorchStreamReader> reader_;
  std::map<std::string, Stored> stored_;
};

}  // namespace

std::unique_ptr<WeightFile> open_pytorch_file(const std::string& path) {
  return std::make_unique<PytorchFile>(path);
}

}  // namespace colonnade
