#include "structured.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "colonnade/error.h"
#include "colonnade/random_words.h"

namespace colonnade::dare {

namespace {

// bool [count]: which survive.
Tensor decide(const RandomStream& numbers, std::int64_t count, const StructuredRule& rule) {
  std::vector<std::uint32_t> words(static_cast<std::size_t>(count));
  random_words(numbers, 0, words);
  Tensor kept = at::ones({count}, at::kBool);
  bool* keep = kept.data_ptr<bool>();
  if (!rule.exact) {
    const std::uint64_t threshold = word_threshold(rule.rate);
    for (std::size_t i = 0; i < words.size(); ++i) keep[i] = words[i] >= threshold;
    return kept;
  }
  std::vector<std::size_t> order(words.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return words[a] < words[b]; });
  const auto dropped = static_cast<std::size_t>(std::llround(rule.rate * static_cast<double>(count)));
  for (std::size_t i = 0; i < dropped; ++i) keep[order[i]] = false;
  return kept;
}

// Notes what a member's variables say about an axis of its site.
void note_member(AxisDrop& drop, const SymmetryMember& member, std::int64_t length, const Tensor& kept) {
  Tensor& governed = member.axis == 0 ? drop.governed_rows : drop.governed_columns;
  Tensor& keeps = member.axis == 0 ? drop.kept_rows : drop.kept_columns;
  if (!governed.defined()) {
    governed = at::zeros({length}, at::kBool);
    keeps = at::ones({length}, at::kBool);
  }
  governed.narrow(0, member.start, kept.numel()).fill_(true);
  keeps.narrow(0, member.start, kept.numel()).copy_(kept);
}

[[noreturn]] void refuse_structure(const Model& model, const std::string& structure) {
  std::set<std::string> kinds = {"rows", "columns"};
  for (const Symmetry& symmetry : model.symmetries()) kinds.insert(symmetry.axis);
  std::string listed;
  for (const std::string& kind : kinds) listed += (listed.empty() ? "" : ", ") + kind;
  throw Error(ErrorKind::usage, "structure = \"" + structure + "\" is none of this model; there are: " + listed +
                                    did_you_mean(structure, {kinds.begin(), kinds.end()}));
}

}  // namespace

std::vector<AxisDrop> decide_axes(const Model& model, const std::vector<std::string>& sites,
                                  const StructuredRule& rule) {
  std::vector<AxisDrop> drops(sites.size());
  if (rule.structure == "rows" || rule.structure == "columns") {
    for (std::size_t i = 0; i < sites.size(); ++i) {
      const SiteSpec& site = model.site(sites[i]);
      const int axis = rule.structure == "rows" ? 0 : 1;
      const std::int64_t length = axis == 0 ? site.rows() : site.columns();
      note_member(drops[i], {sites[i], axis, 0}, length,
                  decide(rule.random.at(sites[i]).at(rule.structure), length, rule));
    }
    return drops;
  }
  bool known = false, touched = false;
  for (const Symmetry& symmetry : model.symmetries()) {
    if (symmetry.axis != rule.structure) continue;
    known = true;
    const Tensor kept =
        decide(rule.random.at("symmetry").at(symmetry.name), symmetry.size, rule).repeat_interleave(symmetry.group);
    for (const SymmetryMember& member : symmetry.members) {
      const auto found = std::find(sites.begin(), sites.end(), member.site);
      if (found == sites.end()) continue;
      touched = true;
      const SiteSpec& site = model.site(member.site);
      note_member(drops[static_cast<std::size_t>(found - sites.begin())], member,
                  member.axis == 0 ? site.rows() : site.columns(), kept);
    }
  }
  if (!known) refuse_structure(model, rule.structure);
  if (!touched) {
    throw Error(ErrorKind::usage, "none of the chosen sites has " + rule.structure + " to drop; widen `sites`");
  }
  return drops;
}

Tensor spread(const AxisDrop& drop, std::int64_t rows, std::int64_t columns) {
  Tensor keep = at::ones({rows, columns}, at::kBool);
  if (drop.kept_rows.defined()) keep.logical_and_(drop.kept_rows.reshape({-1, 1}));
  if (drop.kept_columns.defined()) keep.logical_and_(drop.kept_columns.reshape({1, -1}));
  return keep;
}

Tensor governed_by(const AxisDrop& drop, std::int64_t rows, std::int64_t columns) {
  Tensor governed = at::zeros({rows, columns}, at::kBool);
  if (drop.governed_rows.defined()) governed.logical_or_(drop.governed_rows.reshape({-1, 1}));
  if (drop.governed_columns.defined()) governed.logical_or_(drop.governed_columns.reshape({1, -1}));
  return governed;
}

namespace {

Tensor factors(const Tensor& governed, double factor, at::ScalarType type) {
  return at::where(governed, at::scalar_tensor(factor, type), at::scalar_tensor(1.0, type));
}

}  // namespace

void scale_governed(Tensor& matrix, const AxisDrop& drop, double factor) {
  const auto type = matrix.scalar_type();
  if (drop.governed_rows.defined()) matrix.mul_(factors(drop.governed_rows, factor, type).reshape({-1, 1}));
  if (drop.governed_columns.defined()) matrix.mul_(factors(drop.governed_columns, factor, type).reshape({1, -1}));
}

void drop_low_rank(SiteWeight& weight, const AxisDrop& drop, double factor) {
  if (weight.rank() == 0) return;
  const auto act = [&](Tensor& side, const Tensor& governed, const Tensor& kept) {
    if (!governed.defined()) return;
    side = (side * factors(governed, factor, side.scalar_type()).reshape({-1, 1}) * kept.reshape({-1, 1})).contiguous();
  };
  act(weight.u, drop.governed_rows, drop.kept_rows);
  act(weight.v, drop.governed_columns, drop.kept_columns);
}

}  // namespace colonnade::dare
