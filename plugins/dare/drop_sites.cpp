#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <span>
#include <sstream>

#include "colonnade/error.h"
#include "dare.h"
#include "drop.h"

namespace colonnade::dare {

namespace {

Tensor matrix_of(const Tensor& tensor) {
  return tensor.view({tensor.size(0), -1});
}

std::span<const std::int64_t> indices(const Tensor& order) {
  if (!order.defined()) return {};
  return {order.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(order.numel())};
}

// In one pass from what is there into tensors of its own, so that no copy is made first.
template <typename Real>
DropCounts drop_in_parallel(const ElementRule& rule, SiteWeight& weight, bool norms, double factor) {
  const Tensor values = weight.sparse.contiguous(), mask = weight.has_mask() ? weight.mask.contiguous() : Tensor();
  weight.sparse = at::empty_like(values);
  weight.mask = at::empty(values.sizes(), at::kBool);
  const std::int64_t count = values.numel(), tasks = (count + kTaskElements - 1) / kTaskElements;
  const Real* in = values.const_data_ptr<Real>();
  const bool* kept = mask.defined() ? mask.const_data_ptr<bool>() : nullptr;
  Real* out = weight.sparse.data_ptr<Real>();
  bool* keep = weight.mask.data_ptr<bool>();
  std::vector<DropCounts> parts(static_cast<std::size_t>(tasks));
  at::parallel_for(0, tasks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t first = task * kTaskElements, here = std::min(kTaskElements, count - first);
      const ElementRange<Real> range{static_cast<std::uint64_t>(first),        here,        in + first,
                                     kept != nullptr ? kept + first : nullptr, out + first, keep + first};
      drop_elements<Real>(rule, range, static_cast<Real>(factor), norms, parts[static_cast<std::size_t>(task)]);
    }
  });
  DropCounts all;
  for (const DropCounts& part : parts) {
    all.kept += part.kept;
    all.refilled += part.refilled;
    all.before += part.before;
    all.after += part.after;
  }
  return all;
}

DropCounts drop_uniformly(const ElementRule& rule, SiteWeight& weight, bool norms, double factor) {
  return weight.sparse.scalar_type() == at::kDouble ? drop_in_parallel<double>(rule, weight, norms, factor)
                                                    : drop_in_parallel<float>(rule, weight, norms, factor);
}

// Where an element of the original order is now.
Tensor positions_now(const Tensor& order) {
  return order.defined() ? order.argsort() : order;
}

// Zeros count as the smallest, so that a second use goes on where the first one stopped.
Tensor largest(const Tensor& values, std::int64_t dropped) {
  Tensor sizes = values.abs().reshape({-1});
  if (dropped <= 0) return at::ones_like(sizes, at::kBool);
  if (dropped >= sizes.numel()) return at::zeros_like(sizes, at::kBool);
  const Tensor limit = std::get<0>(sizes.kthvalue(dropped));
  Tensor keep = sizes > limit;
  Tensor equal = sizes == limit;
  const std::int64_t of_equal = dropped - (sizes < limit).sum().item<std::int64_t>();
  keep.logical_or_(at::logical_and(equal, equal.cumsum(0) > of_equal));
  return keep;
}

[[noreturn]] void refuse_moved(const std::string& site, std::int64_t refilled, double rate) {
  std::ostringstream text;
  text << "site '" << site << "': " << refilled << " of the elements that dare dropped earlier, at rate " << rate
       << ", are not dropped any more, so its zeros were filled or moved, and the same numbers would drop others; draw "
          "anew with another `seed`";
  throw Error(ErrorKind::input, text.str());
}

// A difference that the same numbers thinned before, as a patch or a shrunk model has it, which do not say so: what is
// left would survive again and be rescaled twice. The first elements tell.
void require_unthinned(const Tensor& before, const Tensor& after, const SiteDrop& drop) {
  constexpr std::int64_t witnesses = 1 << 16;
  const std::int64_t count = std::min(witnesses, before.numel());
  const auto nonzero = [&](const Tensor& values) {
    return values.view({-1}).narrow(0, 0, count).count_nonzero().item<std::int64_t>();
  };
  const std::int64_t of = nonzero(before), kept = nonzero(after);
  if (of == 0 || !beyond_chance(kept, of, 1 - drop.rate)) return;
  std::ostringstream text;
  text << "site '" << drop.site << "': of " << of << " numbers that are not zero " << kept << " survive at rate "
       << drop.rate
       << ", so the same numbers thinned it before, and the model does not say how far (neither a patch nor "
       << "a model that was shrunk does); draw anew with another `seed`";
  throw Error(ErrorKind::input, text.str());
}

double l1_factor(double before, double after) {
  return before > 0 && after > 0 ? before / after : 1;
}

// What the survivors of one site are to be multiplied by, unless sums have to be known first.
double plain_factor(const SiteDrop& drop, Rescale rescale) {
  if (rescale != Rescale::inverse_keep || drop.rate >= 1) return 1;
  return 1 / (1 - drop.rate) / drop.earlier_scale;
}

// Equal words go by their original places.
double drop_ties(const ExactCut& cut, const SiteOrder& order, SiteWeight& weight, SiteDrop& drop) {
  const Tensor rows = positions_now(order.rows), columns = positions_now(order.columns);
  const std::int64_t length = weight.sparse.numel() / weight.sparse.size(0);
  double gone = 0;
  for (const std::uint64_t tie : cut.ties) {
    std::int64_t row = static_cast<std::int64_t>(tie) / length, column = static_cast<std::int64_t>(tie) % length;
    if (rows.defined()) row = rows[row].item<std::int64_t>();
    if (columns.defined()) column = columns[column].item<std::int64_t>();
    const std::int64_t at = row * length + column;
    bool& kept = weight.mask.data_ptr<bool>()[at];
    Tensor value = weight.sparse.view({-1})[at];
    gone += std::abs(value.item<double>());
    value.zero_();
    drop.kept -= kept ? 1 : 0;
    kept = false;
  }
  return gone;
}

void drop_uniform_site(SiteWeight& weight, SiteDrop& drop, const DareOptions& options, const SiteOrder& order,
                       std::uint64_t earlier) {
  const RandomStream numbers = options.random.at(drop.site);
  const auto count = static_cast<std::uint64_t>(weight.sparse.numel());
  ExactCut cut{word_threshold(drop.rate), {}};
  if (options.exact) {
    cut = exact_cut(numbers, count, static_cast<std::uint64_t>(std::llround(drop.rate * static_cast<double>(count))));
  }
  drop.threshold = cut.threshold;
  drop.governed = weight.sparse.numel();
  const bool l1 = options.rescale == Rescale::l1;
  const double factor = plain_factor(drop, options.rescale);
  const std::uint64_t row_length = count / static_cast<std::uint64_t>(weight.sparse.size(0));
  const ElementRule rule{numbers, cut.threshold, earlier, {indices(order.rows), indices(order.columns), row_length}};
  const Tensor before = weight.sparse.contiguous();
  const DropCounts counts = drop_uniformly(rule, weight, l1, factor);
  if (counts.refilled > 0) refuse_moved(drop.site, counts.refilled, drop.earlier_rate);
  if (!drop.continued) require_unthinned(before, weight.sparse, drop);
  drop.kept = counts.kept;
  const double gone = drop_ties(cut, order, weight, drop);
  drop.factor = l1 ? l1_factor(counts.before, counts.after - gone) : factor;
  if (l1) weight.sparse.mul_(drop.factor);
}

// Of what is decided about: the rest is not rescaled.
double governed_norm(const Tensor& matrix, const Tensor& governed) {
  return at::where(governed, matrix.abs(), at::zeros({}, matrix.options())).sum(at::kDouble).item<double>();
}

void drop_other_site(SiteWeight& weight, SiteDrop& drop, const DareOptions& options, const AxisDrop& earlier) {
  const std::int64_t rows = weight.sparse.size(0), columns = weight.sparse.numel() / rows;
  Tensor keep, governed;
  if (options.strategy == Strategy::magnitude) {
    keep = largest(weight.sparse, std::llround(drop.rate * static_cast<double>(weight.sparse.numel())));
    keep = keep.reshape({rows, columns});
    governed = at::ones({rows, columns}, at::kBool);
  } else {
    keep = spread(drop.axes, rows, columns);
    governed = governed_by(drop.axes, rows, columns);
    if (drop.continued) {
      const Tensor gone = at::logical_not(spread(earlier, rows, columns));
      const auto refilled = at::logical_and(matrix_of(weight.mask), gone).sum().item<std::int64_t>();
      if (refilled > 0) refuse_moved(drop.site, refilled, drop.earlier_rate);
    }
  }
  drop.governed = governed.sum().item<std::int64_t>();
  const bool l1 = options.rescale == Rescale::l1;
  const double before = l1 ? governed_norm(matrix_of(weight.sparse), governed) : 0;
  apply_mask(weight, keep);
  drop.kept = weight.mask.sum().item<std::int64_t>();
  const double factor =
      l1 ? l1_factor(before, governed_norm(matrix_of(weight.sparse), governed)) : plain_factor(drop, options.rescale);
  rescale_site(weight, drop, factor, options.low_rank);
}

void reorder(AxisDrop& axes, const SiteOrder& order) {
  const auto act = [](Tensor& flags, const Tensor& index) {
    if (flags.defined() && index.defined()) flags = flags.index_select(0, index);
  };
  act(axes.governed_rows, order.rows);
  act(axes.kept_rows, order.rows);
  act(axes.governed_columns, order.columns);
  act(axes.kept_columns, order.columns);
}

// A history counts as long as a mask stands: a weight that lost it is a new one.
void recall(SiteDrop& drop, const SiteWeight& weight, const DareOptions& options, const Past& past,
            std::uint64_t& threshold) {
  drop.rate = options.rate;
  const auto site = past.rules.find(drop.site);
  if (site == past.rules.end() || !weight.has_mask()) return;
  const auto found = site->second.find(rule_name(options));
  if (found == site->second.end()) return;
  drop.continued = true;
  drop.earlier_rate = found->second.rate;
  drop.earlier_scale = found->second.scale;
  drop.rate = std::max(options.rate, found->second.rate);
  threshold = found->second.threshold;
}

}  // namespace

std::string rule_name(const DareOptions& options) {
  if (options.strategy == Strategy::magnitude) return "magnitude";
  return (options.strategy == Strategy::uniform ? kElementRule : options.structure + "/") +
         std::to_string(options.random.key());
}

std::vector<SiteDrop> drop_sites(Model& model, const std::vector<std::string>& sites, const DareOptions& options,
                                 const Past& past) {
  const bool structured = options.strategy == Strategy::structured;
  StructuredRule rule{options.structure, options.rate, options.exact, options.random};
  const auto decide = [&] {
    std::vector<AxisDrop> axes = decide_axes(model, sites, rule);
    for (std::size_t i = 0; i < sites.size(); ++i) reorder(axes[i], past.order(sites[i]));
    return axes;
  };
  std::vector<AxisDrop> axes(sites.size());
  if (structured) axes = decide();
  std::map<double, std::vector<AxisDrop>> earlier_axes;  // by rate: sites may have been thinned differently
  std::vector<SiteDrop> drops(sites.size());
  for (std::size_t i = 0; i < sites.size(); ++i) {
    SiteDrop& drop = drops[i];
    drop.site = sites[i];
    drop.axes = axes[i];
    SiteWeight weight = model.weight(drop.site);
    std::uint64_t threshold = 0;
    recall(drop, weight, options, past, threshold);
    if (options.strategy == Strategy::uniform) {
      drop_uniform_site(weight, drop, options, past.order(drop.site), threshold);
      model.set_weight(drop.site, std::move(weight));
      continue;
    }
    AxisDrop earlier;
    if (structured && drop.continued) {
      auto& known = earlier_axes[drop.earlier_rate];
      rule.rate = drop.earlier_rate;
      if (known.empty()) known = decide();
      earlier = known[i];
    }
    // A lower rate than before drops nothing more.
    if (structured && drop.earlier_rate > options.rate) drop.axes = earlier;
    drop_other_site(weight, drop, options, earlier);
    model.set_weight(drop.site, std::move(weight));
  }
  return drops;
}

void rescale_site(SiteWeight& weight, SiteDrop& drop, double factor, bool low_rank) {
  drop.factor = factor;
  if (drop.axes.governed_rows.defined() || drop.axes.governed_columns.defined()) {
    weight.sparse = weight.sparse.contiguous();
    Tensor matrix = matrix_of(weight.sparse);
    scale_governed(matrix, drop.axes, factor);
    if (low_rank) drop_low_rank(weight, drop.axes, factor);
    return;
  }
  if (factor != 1) weight.sparse.mul_(factor);
}

}  // namespace colonnade::dare
