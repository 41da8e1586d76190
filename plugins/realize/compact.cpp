#include <ATen/core/grad_mode.h>

#include <filesystem>

#include "colonnade/colonnade.h"
#include "colonnade/encode.h"
#include "colonnade/error.h"
#include "colonnade/files.h"
#include "colonnade/hash.h"
#include "forms.h"
#include "ops.h"

namespace colonnade::realize {

namespace {

namespace fs = std::filesystem;

// A model as one file:
//   8 bytes   "colmodel"
//   1 byte    the format's version
//   1 byte    how values are stored
//   a length, and the document {architecture, configuration}, canonically encoded
//   32 bytes  SHA-256 of everything but itself
//   then for each site of the architecture, in its order, one byte, what its form keeps in place of S, and its code
constexpr std::string_view magic = "colmodel";
constexpr std::uint8_t version = 1;
constexpr std::size_t digest_bytes = 32;
constexpr const char* file_name = "model.compact";
constexpr std::uint8_t last_value_type = static_cast<std::uint8_t>(ValueType::sign);

std::string digest_of(std::string_view head, std::string_view body) {
  Sha256 hash;
  hash.update(head);
  hash.update(body);
  const Hash digest = hash.finish();
  return {reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size()};
}

std::string write_model(const Model& model, const Coding& coding, const std::function<void()>& progress) {
  const Model dense = folded(model);
  std::string body;
  for (const SiteSpec& site : model.sites()) {
    body.push_back(static_cast<char>(kept_at(model, site.name)));
    const SiteWeight weight = without_reference(dense.weight(site.name));
    body += encode_site(site, weight, coding, drawn_masks(model, site.name)).bytes;
    progress();
  }
  ByteWriter head;
  head.text(magic);
  head.byte(version);
  head.byte(static_cast<std::uint8_t>(coding.values));
  const std::string document =
      encode({{"architecture", model.architecture().type()}, {"configuration", model.configuration()}});
  head.count(document.size());
  head.text(document);
  head.text(digest_of(head.bytes(), body));
  return head.take() + body;
}

struct Header {
  ValueType values = ValueType::fp32;
  Json document;
  std::string_view digest;
};

Header read_header(ByteReader& reader) {
  if (reader.left() < magic.size() || reader.plain(magic.size()) != magic) {
    reader.refuse("not a compact model: it does not begin with '" + std::string(magic) + "'");
  }
  const int found = reader.byte();
  if (found != version) {
    reader.refuse("it has the format " + std::to_string(found) + ", this version reads format " +
                  std::to_string(version));
  }
  const std::uint8_t values = reader.byte();
  if (values > last_value_type) reader.refuse("its values are stored in the unknown way " + std::to_string(values));
  Header header{static_cast<ValueType>(values), {}, {}};
  const std::string_view document = reader.plain(reader.count());
  try {
    header.document = decode(document);
  } catch (const Error& error) {
    reader.refuse(std::string("its document is damaged: ") + error.what());
  }
  header.digest = reader.plain(digest_bytes);
  return header;
}

Model read_model(std::string_view bytes, const std::string& file) {
  ByteReader reader(bytes, file);
  const Header header = read_header(reader);
  const std::size_t body = bytes.size() - reader.left();
  if (digest_of(bytes.substr(0, body - digest_bytes), bytes.substr(body)) != header.digest) {
    reader.refuse("its checksum does not hold: it is truncated or damaged");
  }
  Model model(find_architecture(header.document.at("architecture").get<std::string>()),
              header.document.at("configuration"));
  for (const SiteSpec& site : model.sites()) {
    reader.set_where(file + ", tensor '" + site.tensor_name + "'");
    const std::uint8_t kept = reader.byte();
    if (kept > static_cast<std::uint8_t>(Kept::sparse))
      reader.refuse("it has the unknown form " + std::to_string(kept));
    DecodedSite decoded = decode_site(reader, site, header.values, model.dtype());
    if (static_cast<Kept>(kept) != Kept::all && site.kind != SiteKind::linear) {
      reader.refuse(std::string("it has a form to run in, which sites of kind ") + site_kind_name(site.kind) +
                    " have not");
    }
    put(model, site.name, candidate_from(decoded.weight, static_cast<Kept>(kept)));
  }
  reader.set_where(file);
  if (reader.left() > 0) reader.refuse(std::to_string(reader.left()) + " bytes follow after its last tensor");
  return model;
}

}  // namespace

Value compact(OpContext& context) {
  at::NoGradGuard guard;
  const Model model = Model::from_field(context.input("model"));
  const auto sites = static_cast<std::int64_t>(model.sites().size());
  std::int64_t done = 0;
  std::string bytes = write_model(model, coding_of(context), [&] { context.progress(++done, sites, "sites"); });
  Value value;
  value.fields["bytes"] = to_field(Scalar{static_cast<double>(bytes.size()), sites, {}, "B", Better::lower, {}});
  value.fields["files"] = to_field(Files{"compact", {{file_name, as_file(std::move(bytes))}}});
  return value;
}

Value load(OpContext& context) {
  at::NoGradGuard guard;
  const fs::path given = context.param<std::string>("path");
  const fs::path file = fs::is_directory(given) ? given / file_name : given;
  Value value;
  try {
    value.fields["model"] = read_model(read_whole(file), file.string()).to_field();
  } catch (const Json::exception& error) {
    throw Error(ErrorKind::input, file.string() + ": its document is damaged: " + error.what());
  }
  return value;
}

}  // namespace colonnade::realize
