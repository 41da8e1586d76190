#include "kernel/plugin/catalogue_cache.h"

#include "colonnade/encode.h"
#include "colonnade/error.h"
#include "kernel/plugin/file_hashes.h"
#include "kernel/store/store.h"

namespace colonnade::host {

namespace {

constexpr int format = 1;
// Descriptions of plugins as they were before; beyond this, those not used now are forgotten.
constexpr std::size_t most_descriptions = 256;
constexpr std::size_t most_facts = 1024;

Json to_json(const FileFacts& facts) {
  const FileIdentity& identity = facts.identity;
  return Json::array({identity.device, identity.inode, identity.size, identity.modified_ns, identity.changed_ns,
                      facts.binary.hex(), facts.stamp ? to_json(*facts.stamp) : Json()});
}

FileFacts facts_from_json(const Json& document) {
  FileFacts facts;
  facts.identity = {document.at(0).get<std::uint64_t>(), document.at(1).get<std::uint64_t>(),
                    document.at(2).get<std::uint64_t>(), document.at(3).get<std::int64_t>(),
                    document.at(4).get<std::int64_t>()};
  facts.binary = Hash::from_hex(document.at(5).get<std::string>());
  if (!document.at(6).is_null()) facts.stamp = stamp_from_json(document.at(6));
  return facts;
}

}  // namespace

Json to_json(const Stamp& stamp) {
  return {{"name", stamp.name},
          {"version", stamp.version},
          {"abi", stamp.abi},
          {"abi_type", stamp.abi_type},
          {"torch", stamp.torch},
          {"compiler", stamp.compiler},
          {"standard", stamp.standard},
          {"cxx11_abi", stamp.cxx11_abi},
          {"requires", stamp.requires_plugins},
          {"extends", stamp.extends_plugins}};
}

Stamp stamp_from_json(const Json& document) {
  Stamp stamp;
  stamp.name = document.at("name").get<std::string>();
  stamp.version = document.at("version").get<std::string>();
  stamp.abi = document.at("abi").get<int>();
  stamp.abi_type = document.at("abi_type").get<std::string>();
  stamp.torch = document.at("torch").get<std::string>();
  stamp.compiler = document.at("compiler").get<std::string>();
  stamp.standard = document.at("standard").get<std::string>();
  stamp.cxx11_abi = document.at("cxx11_abi").get<std::string>();
  stamp.requires_plugins = document.at("requires").get<std::vector<std::string>>();
  stamp.extends_plugins = document.at("extends").get<std::vector<std::string>>();
  return stamp;
}

CatalogueCache::CatalogueCache(const std::filesystem::path& cache_folder) {
  if (cache_folder.empty()) return;
  file_ = cache_folder / "catalogue";
  load();
}

void CatalogueCache::load() {
  const std::optional<std::string> bytes = read_file_if_there(file_);
  constexpr std::size_t digest_size = sizeof(Hash::bytes);
  if (!bytes || bytes->size() < digest_size) return;
  const std::string_view body = std::string_view(*bytes).substr(digest_size);
  const Hash digest = hash_bytes(body);
  if (!std::equal(digest.bytes.begin(), digest.bytes.end(), reinterpret_cast<const std::uint8_t*>(bytes->data())))
    return;
  try {
    Json document = decode(body);
    if (document.at("format") != format) return;
    for (const auto& [file, facts] : document.at("files").items()) facts_[file] = facts_from_json(facts);
    for (auto& [sources, description] : document.at("descriptions").items()) {
      descriptions_[sources] = std::move(description);
    }
  } catch (const std::exception&) {
    facts_.clear();
    descriptions_.clear();
  }
}

const FileFacts* CatalogueCache::facts(const std::filesystem::path& file, const FileIdentity& identity) const {
  const auto found = facts_.find(file.string());
  return found != facts_.end() && found->second.identity == identity ? &found->second : nullptr;
}

void CatalogueCache::put_facts(const std::filesystem::path& file, const FileFacts& facts) {
  if (is_fresh(facts.identity)) return;
  if (facts_.size() >= most_facts) facts_.clear();
  facts_[file.string()] = facts;
  changed_ = true;
}

const Json* CatalogueCache::description(const Hash& sources) const {
  const auto found = descriptions_.find(sources.hex());
  if (found == descriptions_.end()) return nullptr;
  used_.insert(found->first);
  return &found->second;
}

void CatalogueCache::put_description(const Hash& sources, Json description) {
  used_.insert(sources.hex());
  descriptions_[sources.hex()] = std::move(description);
  changed_ = true;
}

void CatalogueCache::save() {
  if (!changed_ || file_.empty()) return;
  if (descriptions_.size() > most_descriptions) {
    std::erase_if(descriptions_, [&](const auto& entry) { return !used_.contains(entry.first); });
  }
  Json files = Json::object();
  for (const auto& [file, facts] : facts_) files[file] = to_json(facts);
  const std::string body = encode({{"format", format}, {"files", files}, {"descriptions", descriptions_}});
  const Hash digest = hash_bytes(body);
  try {
    make_folder(file_.parent_path());
    write_file_atomically(file_, std::string(digest.bytes.begin(), digest.bytes.end()) + body);
  } catch (const Error&) {
    return;
  }
  changed_ = false;
}

}  // namespace colonnade::host
