#include "patch_file.h"

#include "colonnade/encode.h"
#include "colonnade/error.h"
#include "colonnade/hash.h"

namespace colonnade::realize {

namespace {

constexpr std::string_view magic = "colpatch";
constexpr std::uint8_t version = 1;
constexpr std::size_t structure_bytes = 8;
constexpr std::size_t digest_bytes = 32;
constexpr std::uint8_t last_value_type = static_cast<std::uint8_t>(ValueType::sign);

std::string_view view_of(const Hash& hash) {
  return {reinterpret_cast<const char*>(hash.bytes.data()), hash.bytes.size()};
}

std::string structure_of(const Model& model) {
  const Hash hash = hash_bytes(encode(Json::array({model.architecture().type(), model.configuration()})));
  return std::string(view_of(hash).substr(0, structure_bytes));
}

/// Of one reference after another.
class BaseHash {
 public:
  void add(const SiteSpec& site, const Tensor& reference) {
    hash_.update(encode(site.tensor_name));
    hash_.update(view_of(to_blob(reference).content_hash()));
  }
  Hash finish() { return hash_.finish(); }

 private:
  Sha256 hash_;
};

Hash checksum(std::string_view head, std::string_view body) {
  Sha256 hash;
  hash.update(head);
  hash.update(body);
  return hash.finish();
}

struct Header {
  ValueType values = ValueType::fp32;
  std::string_view base, checksum;
};

Header read_header(ByteReader& reader, const Model& base) {
  if (reader.left() < patch_header_bytes) {
    reader.refuse("not a patch, or a truncated one: it has " + std::to_string(reader.left()) +
                  " bytes, its header alone takes " + std::to_string(patch_header_bytes));
  }
  if (reader.plain(magic.size()) != magic) {
    reader.refuse("not a patch: it does not begin with '" + std::string(magic) + "'");
  }
  const int found = reader.byte();
  if (found != version) {
    reader.refuse("it has the patch format " + std::to_string(found) + ", this version reads format " +
                  std::to_string(version));
  }
  const std::uint8_t values = reader.byte();
  if (values > last_value_type) reader.refuse("its values are stored in the unknown way " + std::to_string(values));
  if (reader.plain(structure_bytes) != structure_of(base)) {
    reader.refuse("it was made on a model of another structure than the given base, a " + base.architecture().type() +
                  " " + base.configuration().dump());
  }
  Header header{static_cast<ValueType>(values), {}, {}};
  header.base = reader.plain(digest_bytes);
  header.checksum = reader.plain(digest_bytes);
  return header;
}

Hash hash_from(std::string_view bytes) {
  Hash hash;
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(hash.bytes.data()));
  return hash;
}

}  // namespace

std::string write_patch(const Model& model, const Coding& coding, const std::function<void()>& progress) {
  std::string body;
  BaseHash base;
  bool any_reference = false;
  for (const SiteSpec& site : model.sites()) {
    const SiteWeight& weight = model.weight(site.name);
    if (weight.has_reference()) base.add(site, weight.reference);
    any_reference = any_reference || weight.has_reference();
    body += encode_site(site, weight, coding, drawn_masks(model, site.name)).bytes;
    progress();
  }
  if (!any_reference) {
    throw Error(ErrorKind::input,
                "the model has no reference, so there is no base to make a patch on; set one with model:relative_to { "
                "base = ... }, or store the whole model with `realize`");
  }
  ByteWriter head;
  head.text(magic);
  head.byte(version);
  head.byte(static_cast<std::uint8_t>(coding.values));
  head.text(structure_of(model));
  head.text(view_of(base.finish()));
  head.text(view_of(checksum(head.bytes(), body)));
  return head.take() + body;
}

Model read_patch(const Model& base, std::string_view bytes, const std::string& file) {
  ByteReader reader(bytes, file);
  const Header header = read_header(reader, base);
  Model model = base.mutable_copy();
  BaseHash references;
  for (const SiteSpec& site : base.sites()) {
    reader.set_where(file + ", tensor '" + site.tensor_name + "'");
    DecodedSite decoded = decode_site(reader, site, header.values, base.dtype());
    if (!decoded.alone) {
      decoded.weight.reference = effective_weight(base.weight(site.name));
      references.add(site, decoded.weight.reference);
    }
    model.set_weight(site.name, std::move(decoded.weight));
  }
  reader.set_where(file);
  if (reader.left() > 0) reader.refuse(std::to_string(reader.left()) + " bytes follow after its last tensor");
  const auto head = bytes.substr(0, patch_header_bytes - digest_bytes);
  if (view_of(checksum(head, bytes.substr(patch_header_bytes))) != header.checksum) {
    reader.refuse("its checksum does not hold: it is damaged");
  }
  const Hash wanted = hash_from(header.base), given = references.finish();
  if (wanted != given) {
    reader.refuse("it was made on another base: the tensors of its base have the hash " + wanted.short_hex() +
                  ", those of the given one " + given.short_hex());
  }
  return model;
}

}  // namespace colonnade::realize
