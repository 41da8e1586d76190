// One token's passes against the tensor ops that define them, and models with adapters a token at a time.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/from_blob.h>

#include <bit>
#include <catch2/catch.hpp>

#include "colonnade/tensor/recurrent.h"
#include "plugins/mamba/cpu_tasks.h"
#include "plugins/mamba/step_op.h"
#include "plugins/mamba/token_step.h"
#include "tests/plugins/mamba/model_support.h"
#include "tests/sdk/tensor/fixtures.h"

namespace colonnade::mamba {
namespace {

struct Problem {
  TokenScan scan;
  Tensor h, past, taps, bias;
};

Problem random_problem(std::int64_t batch, std::int64_t channels, std::int64_t states, at::ScalarType type) {
  const auto draw = [&](const char* name, at::IntArrayRef shape) {
    return random_normal(RandomStream(7).at(name), shape, at::kDouble).to(type);
  };
  constexpr std::int64_t kWidth = 4;
  Problem p;
  const Tensor xz = draw("xz", {batch, 1, 2 * channels}), selected = draw("selected", {batch, 1, 2 * states + 1});
  p.scan.x = xz.narrow(-1, 0, channels);  // slices, as a model has them
  p.scan.z = xz.narrow(-1, channels, channels);
  // Steps from where softplus is nearly nothing to where it is linear.
  p.scan.delta = draw("delta", {batch, 1, channels}) * 12;
  p.scan.a_log = draw("a", {channels, states});
  p.scan.b = selected.narrow(-1, 1, states);
  p.scan.c = selected.narrow(-1, 1 + states, states);
  p.scan.d = draw("d", {channels});
  p.h = draw("h", {batch, channels, states});
  p.past = draw("past", {batch, kWidth - 1, channels});
  p.taps = draw("taps", {channels, kWidth});
  p.bias = draw("bias", {channels});
  return p;
}

/// y and the state behind it, in float64.
ScanResult scan_in_float64(const TokenScan& in, const Tensor& h, Discretization discretization) {
  const auto wide = [](const Tensor& tensor) { return tensor.to(at::kDouble).contiguous(); };
  ScanResult result = selective_scan_reference(wide(in.x), at::softplus(wide(in.delta)), -at::exp(wide(in.a_log)),
                                               wide(in.b), wide(in.c), wide(in.d), wide(h), discretization);
  result.y = result.y * at::silu(wide(in.z));
  return result;
}

/// Gives back the number of threads.
class Threads {
 public:
  explicit Threads(int count) : before_(at::get_num_threads()) { at::set_num_threads(count); }
  ~Threads() { at::set_num_threads(before_); }

 private:
  int before_;
};

TEST_CASE("a token's scan, with softplus and gate, is the ops that define it") {
  const Threads one(1);
  const auto discretization = GENERATE(Discretization::mamba, Discretization::zoh);
  for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
    const double bound = type == at::kDouble ? 1e-13 : 3e-6;  // some roundings of exp(delta A) where delta A is large
    for (const auto& [batch, channels, states] :
         {std::tuple{1, 1, 1}, {2, 7, 3}, {1, 24, 16}, {3, 131, 17}, {1, 9, 256}}) {
      CAPTURE(type, batch, channels, states);
      const Problem p = random_problem(batch, channels, states, type);
      const ScanResult want = scan_in_float64(p.scan, p.h, discretization);
      Tensor h = p.h.clone();
      const Tensor y = gated_scan_step(p.scan, discretization, h);
      CHECK(y.scalar_type() == type);
      CHECK(relative_error(y, want.y) < bound);
      CHECK(relative_error(h, want.h_last) < bound);
    }
  }
}

TEST_CASE("a token's convolution is the sum that defines it, and remembers the token") {
  const Threads one(1);
  for (const at::ScalarType type : {at::kDouble, at::kFloat}) {
    for (const auto& [batch, channels] : {std::pair{1, 1}, {2, 7}, {3, 131}}) {
      for (const std::int64_t width : {1, 2, 4}) {
        CAPTURE(type, batch, channels, width);
        const Problem p = random_problem(batch, channels, 1, type);
        const Tensor taps = p.taps.narrow(1, 0, width), before = p.past.narrow(1, 0, width - 1);
        const Tensor all = at::cat({before, p.scan.x}, 1);
        for (const Tensor& bias : {p.bias, Tensor()}) {
          Tensor want = (all.to(at::kDouble) * taps.t().to(at::kDouble)).sum(1, true);
          if (bias.defined()) want = want + bias;
          Tensor past = before.clone();
          const Tensor y = conv_silu_step(p.scan.x, taps, bias, past);
          CHECK(relative_error(y, at::silu(want)) < (type == at::kDouble ? 1e-14 : 1e-6));
          CHECK(at::equal(past, all.narrow(1, 1, width - 1)));
        }
      }
    }
  }
}

TEST_CASE("a token's passes have the same bits for one thread and two, and agree between targets") {
  const Problem p = random_problem(2, 700, 16, at::kFloat);
  const auto run = [&](int threads) {
    const Threads use(threads);
    Tensor h = p.h.clone(), past = p.past.clone();
    const Tensor x = conv_silu_step(p.scan.x, p.taps, p.bias, past);
    return std::vector<Tensor>{x, past, gated_scan_step(p.scan, Discretization::mamba, h), h};
  };
  const std::vector<Tensor> one = run(1), two = run(2);
  for (std::size_t i = 0; i < one.size(); ++i) CHECK(at::equal(one[i], two[i]));

  const Tensor x = p.scan.x.contiguous(), z = p.scan.z.contiguous(), b = p.scan.b.contiguous(),
               c = p.scan.c.contiguous();
  std::vector<Tensor> found;
  for (const SimdTarget target : {SimdTarget::baseline, simd_target()}) {
    Tensor h = p.h.clone(), y = at::empty_like(x);
    const ScanStep<float> step{2,
                               700,
                               16,
                               x.const_data_ptr<float>(),
                               p.scan.delta.const_data_ptr<float>(),
                               p.scan.a_log.const_data_ptr<float>(),
                               b.const_data_ptr<float>(),
                               c.const_data_ptr<float>(),
                               p.scan.d.const_data_ptr<float>(),
                               z.const_data_ptr<float>(),
                               700,
                               h.mutable_data_ptr<float>(),
                               y.mutable_data_ptr<float>()};
    scan_step(step, Discretization::mamba, parallel_tasks, target);
    found.push_back(y);
  }
  CHECK(relative_error(found[0], found[1]) < 1e-6);
}

TEST_CASE("a token's passes are taken for one token of float or double whose gradients nobody wants") {
  const Tensor token = at::zeros({2, 1, 8}), two = at::zeros({2, 2, 8});
  const at::AutoGradMode recording(true);
  CHECK_FALSE(has_token_step(token, 4));
  const at::NoGradGuard unrecorded;
  CHECK(has_token_step(token, 4));
  CHECK(has_token_step(token.to(at::kDouble), 8));
  CHECK_FALSE(has_token_step(token.to(at::kBFloat16), 4));
  CHECK_FALSE(has_token_step(token, 9));
  CHECK_FALSE(has_token_step(two, 4));
}

TEST_CASE("a state that is held elsewhere too stays as it was") {
  const Threads one(1);
  const Problem p = random_problem(1, 24, 16, at::kFloat);
  Tensor h = p.h.clone();
  const Tensor kept = h, bits = h.clone();
  gated_scan_step(p.scan, Discretization::mamba, h);
  CHECK(at::equal(kept, bits));
  CHECK_FALSE(at::equal(h, bits));
  const void* memory = h.const_data_ptr();
  gated_scan_step(p.scan, Discretization::mamba, h);
  CHECK(h.const_data_ptr() == memory);
}

TEST_CASE("a state in memory that LibTorch does not own stays as it was") {
  const Threads one(1);
  const Problem p = random_problem(1, 24, 16, at::kFloat);
  const Tensor bits = p.h.clone(), past_bits = p.past.clone();
  // A value of the store is mapped like this, and may not be written to.
  Tensor h = at::from_blob(p.h.mutable_data_ptr(), p.h.sizes(), p.h.options());
  Tensor past = at::from_blob(p.past.mutable_data_ptr(), p.past.sizes(), p.past.options());
  gated_scan_step(p.scan, Discretization::mamba, h);
  conv_silu_step(p.scan.x, p.taps, p.bias, past);
  CHECK(at::equal(p.h, bits));
  CHECK(at::equal(p.past, past_bits));
  CHECK_FALSE(at::equal(h, bits));
  CHECK_FALSE(at::equal(past, past_bits));
}

TEST_CASE("a NaN stays one, also as cards write it") {
  const Threads one(1);
  const auto discretization = GENERATE(Discretization::mamba, Discretization::zoh);
  const auto bits = GENERATE(0x7fc00000U, 0x7fffffffU, 0xffffffffU);
  const float nan = std::bit_cast<float>(bits);
  CAPTURE(bits);
  const auto member = GENERATE(&TokenScan::x, &TokenScan::delta, &TokenScan::a_log, &TokenScan::b, &TokenScan::c,
                               &TokenScan::d, &TokenScan::z);
  Problem p = random_problem(1, 24, 16, at::kFloat);
  Tensor with_nan = (p.scan.*member).contiguous();
  with_nan.mutable_data_ptr<float>()[3] = nan;
  p.scan.*member = with_nan;
  CHECK(at::isnan(gated_scan_step(p.scan, discretization, p.h)).any().item<bool>());
}

TEST_CASE("whatever is attached, a token at a time gives what the whole sequence gives") {
  const Threads one(1);
  Configuration c = small_configuration();
  c.dtype = GENERATE(DType::f64, DType::f32);
  const Model base = random_model(c, 3);
  for (const std::string& kind : laws::kinds()) {
    Model model = base.mutable_copy();
    for (const SiteSpec& site : model.sites()) {
      const bool tied = site.roles.size() > 1;
      if (laws::carries(site.kind, kind) && !tied) laws::attach(model, site.name, kind);
    }
    const Tensor ids = random_batch(c, 2, 9, 4).at("ids");
    NamedTensors state = initial_state(model, 2);
    std::vector<Tensor> logits;
    for (std::int64_t t = 0; t < ids.size(1); ++t) {
      logits.push_back(forward_from(model, {{{"ids", ids.narrow(1, t, 1)}}}, state));
    }
    const Tensor whole = model.forward({{{"ids", ids}}});
    CAPTURE(kind, c.dtype);
    CHECK(relative_error(at::cat(logits, 1), whole) < (c.dtype == DType::f64 ? 1e-12 : 1e-5));
    CHECK(relative_error(whole, base.forward({{{"ids", ids}}})) > 1e-3);
  }
}

}  // namespace
}  // namespace colonnade::mamba
