// Reading a sequence piece by piece, and padded, against reading it whole. Float64 throughout: what is compared is the
// same sums in another order.
#include <catch2/catch.hpp>

#include "colonnade/tensor/recurrent.h"
#include "tests/plugins/mamba/model_support.h"

namespace colonnade::mamba {
namespace {

constexpr double kTolerance = 1e-12;

Tensor random_ids(std::int64_t rows, std::int64_t length, std::int64_t vocabulary) {
  const Tensor uniform = random_uniform(RandomStream(5).at("ids"), {rows, length}, at::kDouble);
  return (uniform * static_cast<double>(vocabulary)).floor().to(at::kLong);
}

Batch of_ids(const Tensor& ids) {
  Batch batch;
  batch.tensors["ids"] = ids;
  return batch;
}

Tensor in_pieces(const Model& model, const Tensor& ids, const std::vector<std::int64_t>& lengths) {
  NamedTensors state = initial_state(model, ids.size(0));
  std::vector<Tensor> logits;
  std::int64_t at = 0;
  for (const std::int64_t length : lengths) {
    logits.push_back(forward_from(model, of_ids(ids.narrow(1, at, length)), state));
    at += length;
  }
  REQUIRE(at == ids.size(1));
  return at::cat(logits, 1);
}

}  // namespace

TEST_CASE("a sequence in pieces has the logits of the whole, whatever the pieces, kernel and hold") {
  Configuration configuration = small_configuration();
  configuration.fused = GENERATE(true, false);
  configuration.discretization = GENERATE(Discretization::mamba, Discretization::zoh);
  const Model model = random_model(configuration, 3, true);
  const Tensor ids = random_ids(2, 12, configuration.vocabulary);
  const Tensor whole = model.forward(of_ids(ids));
  CHECK(relative_error(in_pieces(model, ids, {12}), whole) < kTolerance);
  CHECK(relative_error(in_pieces(model, ids, {5, 7}), whole) < kTolerance);
  CHECK(relative_error(in_pieces(model, ids, std::vector<std::int64_t>(12, 1)), whole) < kTolerance);
  CHECK(relative_error(in_pieces(model, ids, {1, 1, 9, 1}), whole) < kTolerance);
}

TEST_CASE("a convolution of width one keeps no inputs") {
  Configuration configuration = small_configuration();
  configuration.conv_width = 1;
  const Model model = random_model(configuration, 4);
  const Tensor ids = random_ids(1, 6, configuration.vocabulary);
  CHECK(relative_error(in_pieces(model, ids, {2, 4}), model.forward(of_ids(ids))) < kTolerance);
}

TEST_CASE("padding before a sequence changes none of its logits, nor its state") {
  const Configuration configuration = small_configuration();
  const Model model = random_model(configuration, 6, true);
  const Tensor ids = random_ids(3, 9, configuration.vocabulary);
  const std::vector<std::int64_t> lengths = {9, 4, 1};
  Batch padded = of_ids(ids);
  padded.tensors["mask"] = at::ones({3, 9}, at::kBool);
  for (std::int64_t row = 0; row < 3; ++row) {
    padded.tensors["mask"][row].narrow(0, 0, 9 - lengths[static_cast<std::size_t>(row)]).fill_(false);
  }
  NamedTensors state = initial_state(model, 3);
  const Tensor together = forward_from(model, padded, state);
  CHECK(relative_error(model.forward(padded).select(1, -1), together.select(1, -1)) < kTolerance);
  for (std::int64_t row = 0; row < 3; ++row) {
    const std::int64_t length = lengths[static_cast<std::size_t>(row)];
    const Tensor alone_ids = ids.narrow(0, row, 1).narrow(1, 9 - length, length);
    NamedTensors alone_state = initial_state(model, 1);
    const Tensor alone = forward_from(model, of_ids(alone_ids), alone_state);
    CHECK(relative_error(together[row].narrow(0, 9 - length, length), alone[0]) < kTolerance);
    for (const auto& [name, tensor] : alone_state) CHECK(relative_error(state.at(name)[row], tensor[0]) < kTolerance);
  }
}

}  // namespace colonnade::mamba
