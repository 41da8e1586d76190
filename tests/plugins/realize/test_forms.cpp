#include <ATen/Functions.h>

#include <catch2/catch.hpp>
#include <limits>

#include "colonnade/tensor/editing.h"
#include "colonnade/tensor/empty_weight.h"
#include "plugins/realize/forms.h"
#include "plugins/realize/sparse_product.h"
#include "realize_support.h"

namespace colonnade::realize {

namespace {

using Catch::Matchers::Contains;

constexpr const char* site = "layers.0.in_proj";

Tensor numbers(at::IntArrayRef shape, at::ScalarType type, std::uint64_t seed = 1) {
  return random_normal(RandomStream(seed).at("forms"), shape, type);
}

Tensor thinned(std::int64_t rows, std::int64_t columns, double density, at::ScalarType type) {
  return numbers({rows, columns}, type) *
         (random_uniform(RandomStream(2).at("kept"), {rows, columns}, at::kDouble) < density);
}

Model with_candidate(const Model& plain, Candidate candidate) {
  register_linked_plugin(colonnade_plugin);
  Model model = plain.mutable_copy();
  put(model, site, std::move(candidate));
  return model;
}

const Candidate& named(const std::vector<Candidate>& all, const std::string& name) {
  for (const Candidate& each : all) {
    if (each.name == name) return each;
  }
  throw std::runtime_error("no candidate '" + name + "'");
}

}  // namespace

TEST_CASE("the sparse product is its loop bit for bit, for every number of samples and both kinds of index") {
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    for (const std::int64_t width : {1, 37, 70'000}) {
      const RunningForm form = sparse_form(thinned(13, width, width > 100 ? 0.001 : 0.3, type));
      CHECK(form.indices.scalar_type() == (width > 65'536 ? at::kInt : at::kShort));
      for (const std::int64_t samples : {1, 7, 8, 33, 64}) {
        const Tensor x = numbers({samples, width}, type, 3);
        CHECK(at::equal(sparse_product(form, x), sparse_product_plain(form, x)));
      }
    }
  }
}

TEST_CASE("every candidate is the weight, and the runner computes what its product does, bias included") {
  for (const char* dtype : {"f32", "f64"}) {
    const Model start = small::make(dtype);
    const at::ScalarType type = start.dtype();
    const SiteSpec& spec = start.site(site);
    Tensor matrix = thinned(spec.rows(), spec.columns(), 0.4, type);
    matrix.slice(0, 3, 6).zero_();
    matrix.slice(1, 2, 3).zero_();
    for (const bool empty : {false, true}) {
      for (const std::int64_t rank : {0, 2}) {
        Model plain = start.mutable_copy();
        SiteWeight& weight = plain.writable(site);
        weight.sparse = empty ? at::zeros_like(matrix) : matrix;
        if (rank > 0) weight.u = numbers({spec.rows(), rank}, type, 8);
        if (rank > 0) weight.v = numbers({spec.columns(), rank}, type, 9);
        const auto all = candidates(weight);
        CHECK(all.size() == (empty ? 2 : rank > 0 ? 4 : 3));
        for (const Candidate& each : all) {
          INFO(each.name);
          const Model model = with_candidate(plain, each);
          const double tolerance = type == at::kFloat ? 1e-5 : 1e-13;  // sums of some products in another order
          const Batch batch = small::batch();
          CHECK(small::relative_error(model.forward(batch), plain.forward(batch)) < tolerance);
          const Tensor x = numbers({5, spec.columns()}, type, 6);
          CHECK(small::largest_difference(product(each, x), at::linear(x, effective_weight(weight))) < tolerance);
          const Model back = Model::from_field(model.to_field());
          CHECK(at::equal(back.forward(batch), model.forward(batch)));
          CHECK(back.to_field().content_hash() == model.to_field().content_hash());
          CHECK(is_empty_weight(back.weight(site).sparse) == (each.name.find("dense") == std::string::npos));
          CHECK(same_weights(with_dense_weights(back), with_dense_weights(model)));
        }
      }
    }
  }
}

TEST_CASE("a form counts by its numbers, is not permuted, and folds back into the weight") {
  const Model plain = small::make("f64");
  Model thin = plain.mutable_copy();
  const SiteSpec& spec = plain.site(site);
  thin.writable(site).sparse = thinned(spec.rows(), spec.columns(), 0.3, at::kDouble);
  const Candidate sparse = named(candidates(thin.weight(site)), "sparse");
  Model model = with_candidate(thin, sparse);
  CHECK(model.counts().all == plain.counts().all - spec.elements() + sparse.numbers());
  CHECK(model.counts().nonzero == thin.counts().nonzero);
  const Symmetry& channels = model.symmetry("layers.0.channels");
  const Tensor order = at::arange(channels.size - 1, -1, -1, at::kLong);
  CHECK_THAT(small::error_of([&] { permute(model, channels, order); }), Contains("realize/form") && Contains(site));
  const Symmetry& stream = model.symmetry("model");
  CHECK_THAT(small::error_of([&] { permute(model, stream, at::arange(stream.size, at::kLong)); }),
             Contains("realize/form"));
  const Model folded_model = editable_copy(model, {site});
  CHECK(folded_model.adapters().empty());
  CHECK(small::largest_difference(effective_weight(folded_model.weight(site)), thin.weight(site).sparse) < 1e-12);
}

TEST_CASE("a damaged form is refused by name before it can be read beyond its memory") {
  const Model plain = small::make("f32");
  Model thin = plain.mutable_copy();
  Tensor& matrix = thin.writable(site).sparse;
  matrix = thinned(matrix.size(0), matrix.size(1), 0.4, at::kFloat);
  matrix.slice(0, 2, 5).zero_();
  const auto all = candidates(thin.weight(site));
  const Candidate &compact = named(all, "compact"), &sparse = named(all, "sparse");
  const auto refusal = [&](const Candidate& candidate, const std::string& part, const Tensor& instead) {
    Field field = with_candidate(thin, candidate).to_field();
    field.tensors.erase("adapters/0/" + part);
    if (instead.defined()) field.tensors.emplace("adapters/0/" + part, to_blob(instead));
    return small::error_of([&] { Model::from_field(field); });
  };
  const auto is_named = Contains("site 'layers.0.in_proj'");
  const RunningForm &s = *sparse.form, &c = *compact.form;
  CHECK_THAT(refusal(sparse, "indices", s.indices + 7), is_named && Contains("beyond"));
  CHECK_THAT(refusal(sparse, "indices", Tensor()), is_named);
  CHECK_THAT(refusal(sparse, "offsets", s.offsets + 1), is_named);
  CHECK_THAT(refusal(sparse, "offsets", s.offsets.flip(0)), is_named);
  CHECK_THAT(refusal(sparse, "values", s.values.slice(1, 1).contiguous()), is_named);
  CHECK_THAT(refusal(sparse, "values", s.values * std::numeric_limits<float>::infinity()), is_named);
  CHECK_THAT(refusal(compact, "rows", c.rows + 3), is_named && Contains("ascend"));
  CHECK_THAT(refusal(compact, "rows", c.rows.flip(0)), is_named && Contains("ascend"));
  CHECK_THAT(refusal(compact, "rows", Tensor()), is_named);
  CHECK_THAT(refusal(compact, "core", Tensor()), is_named && Contains("neither a core"));
}

}  // namespace colonnade::realize
