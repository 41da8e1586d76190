// A site's weight as bytes: S as a matrix, then twice the rank of U Vᵀ, plus one where the weight has no reference, and
// where there is a rank, Uᵀ and Vᵀ as matrices.
#pragma once

#include <string>
#include <vector>

#include "colonnade/tensor/model.h"
#include "matrix_code.h"

namespace colonnade::realize {

struct Coding {
  ValueType values = ValueType::fp32;
  bool seeds = false;  // positions of drawn masks as their numbers
};

struct SiteCode {
  std::string form;          // of S, "+ low rank" where there are factors
  std::int64_t nonzero = 0;  // of S
  std::int64_t rank = 0;
  std::string bytes;
};

/// The numbers of `weight` as they come back from being stored: S, U and V; the reference and the mask stay.
SiteWeight rounded_weight(const SiteSpec& site, const SiteWeight& weight, ValueType values);

/// The masks that the model's hooks remember having drawn at the site.
std::vector<DrawnMask> drawn_masks(const Model& model, const std::string& site);

/// S + U Vᵀ, rounded. `drawn` is ignored unless the coding takes seeds.
SiteCode encode_site(const SiteSpec& site, const SiteWeight& weight, const Coding& coding,
                     const std::vector<DrawnMask>& drawn);

/// S, U and V as they were rounded, in the model's floating type, and no reference yet.
struct DecodedSite {
  SiteWeight weight;
  bool alone = false;  // the weight has no reference
};
DecodedSite decode_site(ByteReader& reader, const SiteSpec& site, ValueType values, at::ScalarType type);

}  // namespace colonnade::realize
