#pragma once

#include <memory>

#include "colonnade/tensor/adapter.h"

namespace colonnade {

// (IA)³, "infused adapter by inhibiting and amplifying inner activations" (Liu et al., "Few-shot parameter-efficient
// fine-tuning is better and cheaper than in-context learning", 2022): a learned vector l, one at first, scales the
// site's output, bias included, or the input of a feed-forward block's down projection.
std::unique_ptr<Adapter> make_ia3(const SiteSpec& site, at::ScalarType type);

// Whether scales act on such a site, and if not, why.
std::string ia3_refusal(const SiteSpec& site);

AdapterType ia3_type();

}  // namespace colonnade
