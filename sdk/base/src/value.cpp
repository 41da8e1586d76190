#include "colonnade/value.h"

#include <algorithm>

#include "colonnade/encode.h"
#include "colonnade/error.h"

namespace colonnade {
namespace {

constexpr const char* kPerExample = "per_example";
constexpr const char* kTensor = "tensor";

struct BetterName {
  Better better;
  const char* name;
};
constexpr BetterName kBetterNames[] = {
    {Better::higher, "higher"}, {Better::lower, "lower"}, {Better::neither, "neither"}};

Error malformed(const std::string& type, const std::string& what) {
  return Error(ErrorKind::input, type + ": the document " + what);
}

void require_type(const Field& field, const std::string& type) {
  if (field.type == type) return;
  throw Error(ErrorKind::input, "a field of type '" + field.type + "' was given where '" + type + "' is needed");
}

const Json& entry(const Json& document, const std::string& type, const char* name) {
  const auto found = document.find(name);
  if (found == document.end()) throw malformed(type, std::string("has no '") + name + "'");
  return *found;
}

std::string text_entry(const Json& document, const std::string& type, const char* name) {
  const Json& found = entry(document, type, name);
  if (!found.is_string()) throw malformed(type, std::string("has a '") + name + "' that is no text");
  return found.get<std::string>();
}

double real_entry(const Json& document, const std::string& type, const char* name) {
  const Json& found = entry(document, type, name);
  if (!found.is_number()) throw malformed(type, std::string("has a '") + name + "' that is no number");
  return found.get<double>();
}

Better better_from_name(const std::string& name) {
  for (const BetterName& candidate : kBetterNames) {
    if (name == candidate.name) return candidate.better;
  }
  throw malformed("scalar", "has better = '" + name + "'; allowed: higher, lower, neither");
}

const char* better_name(Better better) {
  for (const BetterName& candidate : kBetterNames) {
    if (better == candidate.better) return candidate.name;
  }
  return "neither";
}

}  // namespace

Hash Field::content_hash() const {
  Json hashes = Json::array();
  for (const auto& [name, blob] : tensors) {
    const Hash hash = blob.content_hash();
    Json pair = Json::array();
    pair.push_back(name);
    pair.push_back(Json::binary({hash.bytes.begin(), hash.bytes.end()}));
    hashes.push_back(std::move(pair));
  }
  Json content = Json::array();
  content.push_back(type);
  content.push_back(document);
  content.push_back(std::move(hashes));
  return hash_bytes(encode(content));
}

const Field& Value::at(const std::string& name) const {
  const auto found = fields.find(name);
  if (found != fields.end()) return found->second;
  std::vector<std::string> names;
  std::string listed;
  for (const auto& [field_name, field] : fields) {
    names.push_back(field_name);
    listed += (listed.empty() ? "" : ", ") + field_name;
  }
  const std::string meant = did_you_mean(name, names);
  throw Error(ErrorKind::input, "the value has no field '" + name + "'" + (meant.empty() ? "." : meant) +
                                    " It has: " + (listed.empty() ? "none" : listed));
}

Field to_field(const Scalar& scalar) {
  Field field;
  field.type = "scalar";
  field.document = {{"value", scalar.value},
                    {"n", scalar.n},
                    {"standard_error", scalar.standard_error ? Json(*scalar.standard_error) : Json()},
                    {"unit", scalar.unit},
                    {"better", better_name(scalar.better)}};
  if (!scalar.per_example.empty()) field.tensors.emplace(kPerExample, Blob::of(DType::f64, scalar.per_example));
  return field;
}

Scalar scalar_from(const Field& field) {
  const std::string type = "scalar";
  require_type(field, type);
  const Json& document = field.document;
  Scalar scalar;
  scalar.value = real_entry(document, type, "value");
  const Json& n = entry(document, type, "n");
  if (!n.is_number_integer()) throw malformed(type, "has an 'n' that is no integer");
  scalar.n = n.get<std::int64_t>();
  if (!entry(document, type, "standard_error").is_null()) {
    scalar.standard_error = real_entry(document, type, "standard_error");
  }
  scalar.unit = text_entry(document, type, "unit");
  scalar.better = better_from_name(text_entry(document, type, "better"));
  const auto per_example = field.tensors.find(kPerExample);
  if (per_example == field.tensors.end()) return scalar;
  const Blob& blob = per_example->second;
  if (blob.dtype() != DType::f64) {
    throw Error(ErrorKind::input, "scalar: per_example is " + std::string(dtype_name(blob.dtype())) + "; allowed: f64");
  }
  scalar.per_example.assign(blob.as<double>(), blob.as<double>() + blob.elements());
  return scalar;
}

Field record_field(Json document) {
  Field field;
  field.type = "record";
  field.document = std::move(document);
  return field;
}

Field tensor_field(Blob tensor) {
  Field field;
  field.type = "tensor";
  field.tensors.emplace(kTensor, std::move(tensor));
  return field;
}

}  // namespace colonnade
