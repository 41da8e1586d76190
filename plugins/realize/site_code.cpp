#include "site_code.h"

#include <ATen/Functions.h>

namespace colonnade::realize {

namespace {

Tensor rounded_sparse(const SiteSpec& site, const SiteWeight& weight, ValueType values) {
  const Tensor matrix = weight.sparse.reshape({site.rows(), site.columns()});
  return round_values(matrix, values, Groups::whole, "the weight of site '" + site.name + "'");
}

/// Transposed, so that a column of U or V is a group.
Tensor rounded_factor(const SiteSpec& site, const Tensor& factor, ValueType values) {
  return round_values(factor.t(), values, Groups::rows, "the low-rank part of site '" + site.name + "'");
}

}  // namespace

SiteWeight rounded_weight(const SiteSpec& site, const SiteWeight& weight, ValueType values) {
  SiteWeight rounded = weight;
  const auto type = weight.sparse.scalar_type();
  rounded.sparse = rounded_sparse(site, weight, values).to(type).reshape(weight.sparse.sizes());
  if (weight.rank() == 0) return rounded;
  rounded.u = rounded_factor(site, weight.u, values).t().to(type).contiguous();
  rounded.v = rounded_factor(site, weight.v, values).t().to(type).contiguous();
  return rounded;
}

std::vector<DrawnMask> drawn_masks(const Model& model, const std::string& site) {
  std::vector<DrawnMask> all;
  for (const auto& hook : model.hooks()) {
    const auto* drawn = dynamic_cast<const DrawnMasks*>(hook.get());
    if (drawn == nullptr) continue;
    const auto masks = drawn->drawn_masks(site);
    all.insert(all.end(), masks.begin(), masks.end());
  }
  return all;
}

SiteCode encode_site(const SiteSpec& site, const SiteWeight& weight, const Coding& coding,
                     const std::vector<DrawnMask>& drawn) {
  const MatrixCode sparse = encode_matrix(rounded_sparse(site, weight, coding.values), coding.values, Groups::whole,
                                          coding.seeds ? drawn : std::vector<DrawnMask>{});
  SiteCode code{form_name(sparse.form), sparse.nonzero, weight.rank(), sparse.bytes};
  ByteWriter rank;
  rank.count(static_cast<std::uint64_t>(weight.rank()) * 2 + (weight.has_reference() ? 0 : 1));
  code.bytes += rank.bytes();
  if (weight.rank() == 0) return code;
  code.form = sparse.form == Form::empty ? "low rank" : code.form + " + low rank";
  for (const Tensor& factor : {weight.u, weight.v}) {
    code.bytes += encode_matrix(rounded_factor(site, factor, coding.values), coding.values, Groups::rows).bytes;
  }
  return code;
}

DecodedSite decode_site(ByteReader& reader, const SiteSpec& site, ValueType values, at::ScalarType type) {
  DecodedSite result;
  SiteWeight& weight = result.weight;
  const std::int64_t rows = site.rows(), columns = site.columns();
  weight.sparse =
      decode_matrix(reader, rows, columns, values, Groups::whole).matrix.to(type).reshape(at::IntArrayRef(site.shape));
  const auto most = 2 * static_cast<std::uint64_t>(rows + columns) + 1;
  const std::uint64_t number = reader.count_below(most, "twice the rank of a low-rank part");
  result.alone = number % 2 == 1;
  const auto rank = static_cast<std::int64_t>(number / 2);
  if (rank == 0) return result;
  weight.u = decode_matrix(reader, rank, rows, values, Groups::rows).matrix.t().to(type).contiguous();
  weight.v = decode_matrix(reader, rank, columns, values, Groups::rows).matrix.t().to(type).contiguous();
  return result;
}

}  // namespace colonnade::realize
