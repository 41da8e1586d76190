#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "colonnade/blob_writer.h"
#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/files.h"
#include "drop_files.h"

namespace colonnade::dare {

namespace {

constexpr const char* kFormat = "safetensors";
/// The op whose numbers these are.
constexpr const char* kNumbersOf = "dare/dare";

DareOptions file_options(const OpContext& context) {
  const std::map<std::string, Rescale> rescales = {
      {"inverse_keep", Rescale::inverse_keep}, {"l1", Rescale::l1}, {"none", Rescale::none}};
  DareOptions options;
  options.strategy = context.param<std::string>("strategy") == "uniform" ? Strategy::uniform : Strategy::magnitude;
  options.rescale = rescales.at(context.param<std::string>("rescale"));
  options.rate = context.param<double>("drop_rate");
  options.exact = context.param<bool>("exact_count");
  options.random = RandomStream(context.seed()).at(kNumbersOf).at(std::uint64_t{0});
  return options;
}

std::string site_of(const std::string& tensor) {
  constexpr std::string_view weight = ".weight";
  return tensor.ends_with(weight) ? tensor.substr(0, tensor.size() - weight.size()) : tensor;
}

std::optional<Number> number_of(at::ScalarType type) {
  switch (type) {
    case at::kHalf:
      return Number::f16;
    case at::kBFloat16:
      return Number::bf16;
    case at::kFloat:
      return Number::f32;
    case at::kDouble:
      return Number::f64;
    default:
      return std::nullopt;
  }
}

/// Why a tensor is given as it is; empty where it is thinned. Throws where base and tuned do not fit together.
std::string reason_to_keep(const std::string& name, const Shards& base, const Shards& tuned) {
  const Shards::Place& mine = tuned.tensors.at(name);
  const auto theirs = base.tensors.find(name);
  if (theirs == base.tensors.end()) return "the base has none of this name";
  if (theirs->second.entry->shape != mine.entry->shape) {
    throw Error(ErrorKind::input, mine.file->header().path + ": tensor '" + name + "' has the shape " +
                                      shape_text(mine.entry->shape) + ", the base's in " +
                                      theirs->second.file->header().path + " " +
                                      shape_text(theirs->second.entry->shape));
  }
  if (!number_of(mine.entry->type) || !number_of(theirs->second.entry->type)) return "it holds whole numbers";
  return "";
}

void copy_bytes(const Shard& file, std::uint64_t begin, std::uint64_t end, BlobWriter& out) {
  out.write(file.at(begin), end - begin);
}

class FilesDrop {
 public:
  explicit FilesDrop(OpContext& context)
      : context_(context),
        options_(file_options(context)),
        base_(open_shards(context.param<std::string>("base"))),
        tuned_(open_shards(context.param<std::string>("tuned"))) {
    report_.add_column("tensor", "text");
    report_.add_column("elements", "integer");
    report_.add_column("dropped", "integer");
    report_.add_column("factor", "real");
    report_.add_column("kept_whole", "text");
    // Before anything is written.
    for (const auto& [name, place] : tuned_.tensors) {
      reasons_[name] = reason_to_keep(name, base_, tuned_);
      bytes_ += place.entry->end - place.entry->begin;
    }
    if (std::all_of(reasons_.begin(), reasons_.end(), [](const auto& each) { return !each.second.empty(); })) {
      throw Error(ErrorKind::input, tuned_.path + ": has no tensor of numbers in common with " + base_.path);
    }
  }

  Value run() {
    Files files;
    files.format = kFormat;
    for (const auto& [name, path] : tuned_.others) files.files.emplace(name, read_beside(path));
    for (const auto& [name, file] : tuned_.weights) files.files.emplace(name, thin(*file));
    for (const auto& [name, place] : base_.tensors) {
      if (!tuned_.tensors.contains(name)) report_.add_row({name, 0, 0, 1.0, "only the base has it: left out"});
    }
    Value value;
    value.fields["files"] = to_field(files);
    value.fields["report"] = to_field(report_);
    const double share = elements_ > 0 ? static_cast<double>(dropped_) / static_cast<double>(elements_) : 0;
    value.fields["sparsity"] = to_field(Scalar{share, elements_, {}, "", Better::higher, {}});
    return value;
  }

 private:
  static Blob read_beside(const std::string& path) {
    const std::filesystem::path file(path);
    std::ifstream stream(file, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    if (!stream && !stream.eof()) throw Error(ErrorKind::input, path + ": cannot be read");
    return file_bytes(bytes);
  }

  Blob thin(const Shard& file) {
    BlobWriter out(DType::u8, {static_cast<std::int64_t>(file.size())});
    copy_bytes(file, 0, file.data_start(), out);
    for (const std::string& name : file.tensors()) {
      const SafetensorsEntry& entry = file.header().tensors.at(name);
      std::int64_t count = 1;
      for (const std::int64_t extent : entry.shape) count *= extent;
      if (count == 0 || !reasons_.at(name).empty()) {
        copy_bytes(file, entry.begin, entry.end, out);
        report_.add_row({name, count, 0, 1.0, count == 0 ? "it is empty" : reasons_.at(name)});
        tell(entry.end - entry.begin);
        continue;
      }
      thin(name, count, out);
    }
    return out.finish();
  }

  void thin(const std::string& name, std::int64_t count, BlobWriter& out) {
    const auto at = [&](const Shards& folder) {
      const Shards::Place& place = folder.tensors.at(name);
      return FileTensor{place.file, place.entry->begin, *number_of(place.entry->type)};
    };
    const FileDrop drop{name, at(base_), at(tuned_), count, options_.random.at(site_of(name))};
    const FileDropped done =
        drop_file_tensor(drop, options_, context_.threads(), [&](const std::byte* bytes, std::size_t size) {
          out.write(bytes, size);
          tell(size);
        });
    report_.add_row({name, count, done.dropped, done.factor, ""});
    dropped_ += done.dropped;
    elements_ += count;
  }

  void tell(std::uint64_t bytes) {
    done_ += bytes;
    context_.progress(static_cast<std::int64_t>(done_), static_cast<std::int64_t>(bytes_), "bytes");
  }

  OpContext& context_;
  const DareOptions options_;
  const Shards base_, tuned_;
  std::map<std::string, std::string> reasons_;  // why a tensor is kept whole, by name
  Table report_;
  std::uint64_t bytes_ = 0, done_ = 0;
  std::int64_t dropped_ = 0, elements_ = 0;
};

}  // namespace

Value drop_files(OpContext& context) {
  return FilesDrop(context).run();
}

}  // namespace colonnade::dare
