#include <ATen/core/grad_mode.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "colonnade/colonnade.h"
#include "colonnade/error.h"
#include "colonnade/files.h"
#include "ops.h"
#include "patch_file.h"

namespace colonnade::realize {

namespace fs = std::filesystem;

std::string read_whole(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary | std::ios::ate);
  if (!stream) throw Error(ErrorKind::input, file.string() + ": it cannot be opened");
  std::string bytes(static_cast<std::size_t>(stream.tellg()), '\0');
  stream.seekg(0);
  if (!stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
    throw Error(ErrorKind::input, file.string() + ": it cannot be read");
  }
  return bytes;
}

Blob as_file(std::string bytes) {
  const auto owner = std::make_shared<const std::string>(std::move(bytes));
  return Blob::share(DType::u8, {static_cast<std::int64_t>(owner->size())}, owner->data(), owner);
}

Value patch(OpContext& context) {
  at::NoGradGuard guard;
  const Model model = folded(Model::from_field(context.input("model")));
  const auto sites = static_cast<std::int64_t>(model.sites().size());
  std::int64_t done = 0;
  std::string bytes = write_patch(model, coding_of(context), [&] { context.progress(++done, sites, "sites"); });
  Value value;
  value.fields["bytes"] = to_field(Scalar{static_cast<double>(bytes.size()), sites, {}, "B", Better::lower, {}});
  value.fields["files"] = to_field(Files{"patch", {{patch_name, as_file(std::move(bytes))}}});
  return value;
}

Value apply_patch(OpContext& context) {
  at::NoGradGuard guard;
  const Model base = folded(Model::from_field(context.input("base")));
  const fs::path given = context.param<std::string>("path");
  const fs::path file = fs::is_directory(given) ? given / patch_name : given;
  Value value;
  value.fields["model"] = read_patch(base, read_whole(file), file.string()).to_field();
  return value;
}

}  // namespace colonnade::realize
