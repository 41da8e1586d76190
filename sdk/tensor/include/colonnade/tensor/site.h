#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "colonnade/tensor/tensor.h"

namespace colonnade {

enum class SiteKind {
  linear,     // [out, in]
  conv1d,     // depthwise, causal: [channels, 1, width]
  embedding,  // [rows, dim]
  vector,     // a norm, a bias, D: [n]; also small matrices that no product applies (A_log: [channels, states])
};
const char* site_kind_name(SiteKind kind);

// Named rows of a site ("B" of x_proj).
struct Part {
  std::string name;
  std::int64_t start = 0, size = 0;
};

// One weight of a model that methods act on, as its architecture declares it.
struct SiteSpec {
  std::string name;                 // "backbone.layers.3.mixer.x_proj", as on the Hugging Face hub without ".weight"
  std::string tensor_name;          // "backbone.layers.3.mixer.x_proj.weight"
  SiteKind kind = SiteKind::linear;
  std::vector<std::int64_t> shape;
  std::vector<std::string> roles;   // "x_proj"; a tied weight has two: "embedding", "head"
  std::vector<Part> parts;
  int layer = -1;                   // -1: outside the layers
  std::string bias;                 // the site of its bias, "" none
  bool feed_forward_down = false;   // closes a feed-forward block: to scale it is to scale its input
  // The shape of the published tensor where it is another: a patch convolution is a linear of flattened patches here.
  std::optional<std::vector<std::int64_t>> published_shape;

  // As a matrix: rows = shape[0], columns = the rest.
  std::int64_t rows() const { return shape.at(0); }
  std::int64_t columns() const;
  std::int64_t elements() const { return rows() * columns(); }
  const Part* find_part(const std::string& part) const;
};

// The weight of a site: W = R + S + U Vᵀ. All tensors have the model's floating type.
//   R  nothing, or the reference (the base's weight, where methods work on the difference); never trained
//   S  the part that masks act on, [shape]; zero wherever `mask` is zero
//   U  [rows, r], V [columns, r]: the low-rank part; undefined if r = 0
struct SiteWeight {
  Tensor reference;
  Tensor sparse;
  Tensor mask;  // undefined (nothing masked), or bool [shape]
  Tensor u, v;

  std::int64_t rank() const { return u.defined() ? u.size(1) : 0; }
  bool has_reference() const { return reference.defined(); }
  bool has_mask() const { return mask.defined(); }
};

// W as a dense tensor [shape], for reading: R + S + U Vᵀ, differentiable in S, U, V.
Tensor effective_weight(const SiteWeight& weight);

// nnz(S) + r (m + n): the nominal size. Exact zeros of S count as zeros whether masked or not.
std::int64_t nominal_size(const SiteWeight& weight);

// What an edit did to a representation; ops put it into their records.
struct EditReport {
  bool low_rank = false;        // it went to U Vᵀ
  bool gave_up_mask = false;    // zeros were filled
  double lost_norm = 0;         // Frobenius norm of what the mask refused
  double requested_norm = 0;    // of what was asked for
  std::int64_t rank = 0;        // of U Vᵀ afterwards
};

// The table of what acts on what. Every function leaves W's masked zeros in S zero unless it says otherwise.
//
//   op                     | R          | S                       | mask          | U Vᵀ
//   apply_mask             | kept       | S ⊙ M                   | mask ∧ M      | kept (with_low_rank: rows/columns wholly masked go)
//   edit_low_rank(ΔU, ΔV)  | kept       | kept                    | kept          | appended, recompressed
//     r(m+n) >= mn         | kept       | S + mask ⊙ ΔUΔVᵀ        | kept          | kept; loss reported
//   edit_dense(ΔW)         | kept       | S + mask ⊙ ΔW           | kept          | kept; loss reported
//   scale_rows(l)          | none: ok   | l ⊙ S                   | kept          | l ⊙ U
//     with a reference     | kept       | l ⊙ S + (l−1) ⊙ R       | refused where it would fill zeros, unless densify
//   set_reference(R')      | R'         | W − R' (or S kept if S alone is given) | dropped where it no longer holds
//   densify                | none       | W                       | none          | none
void apply_mask(SiteWeight& weight, const Tensor& keep, bool with_low_rank = false);
EditReport edit_low_rank(SiteWeight& weight, const Tensor& delta_u, const Tensor& delta_v);
EditReport edit_dense(SiteWeight& weight, const Tensor& delta);
// `scale` [rows]. With a reference and a mask it throws Error(input), unless `densify` (the mask is given up, reported).
EditReport scale_rows(SiteWeight& weight, const Tensor& scale, bool densify = false);
EditReport scale_columns(SiteWeight& weight, const Tensor& scale, bool densify = false);
// Sets R; W stays the same. A mask stays only if S is still zero where it was; otherwise gave_up_mask.
EditReport set_reference(SiteWeight& weight, const Tensor& reference);
// Everything into S; mask and reference are given up.
EditReport densify(SiteWeight& weight);
// Reduces U Vᵀ to its numerical rank by QR and SVD (relative tolerance 1e-7 of the largest singular value).
void recompress(SiteWeight& weight);
// Indexes axis 0 (rows) or 1 (columns) of everything: permutes or slices. `index` i64.
void reindex(SiteWeight& weight, int axis, const Tensor& index);

}  // namespace colonnade
