#include "shift.h"

#include <ATen/Functions.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "colonnade/error.h"

namespace colonnade::alphaedit {

namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;

// Adds a vector of its own to what the site gives at one position of each row. Never stored.
class PositionShift final : public Adapter {
 public:
  std::string type() const override { return "alphaedit/shift@1"; }
  Json configuration() const override { return Json::object(); }
  std::map<std::string, AdapterTensor>& tensors() override { return none_; }
  std::unique_ptr<Adapter> clone() const override { return std::make_unique<PositionShift>(*this); }
  void bind(const SiteSpec&) override {}
  Tensor branch(const Tensor& x, const StepInfo&) const override {
    const Tensor here = at::arange(x.size(1)).reshape({1, -1}) == positions.reshape({-1, 1});
    return here.unsqueeze(-1).to(delta.scalar_type()) * delta.unsqueeze(1);
  }

  Tensor positions, delta;

 private:
  std::map<std::string, AdapterTensor> none_;
};

class At final : public Observer {
 public:
  At(std::string site, Tensor positions) : site_(std::move(site)), positions_(std::move(positions)) {}
  bool wants_site(const SiteSpec& site) const override { return site.name == site_; }
  void on_site(const SiteSpec&, const Tensor& in, const Tensor& out) override {
    const Tensor rows = at::arange(positions_.size(0));
    input = in.index({rows, positions_}).clone();
    output = out.index({rows, positions_}).clone();
  }
  Tensor input, output;

 private:
  std::string site_;
  Tensor positions_;
};

std::vector<std::string> each(const std::vector<Fact>& facts, std::string Fact::*member) {
  std::vector<std::string> texts;
  for (const Fact& fact : facts) texts.push_back(fact.*member);
  return texts;
}

// "SUBJECT is a": what follows a subject anywhere else should stay as likely as it was.
Prompted essences(const std::vector<Fact>& facts) {
  std::vector<std::string> prompts, subjects;
  for (const Fact& fact : facts) {
    subjects.push_back(fact.subject.empty() ? fact.prompt : fact.subject);
    prompts.push_back(subjects.back() + " is a");
  }
  return encode(prompts, std::vector<std::string>(facts.size(), " "), subjects);
}

// log p of the byte after each text, [F, V].
Tensor next_bytes(const Model& model, const Prompted& text) {
  Batch batch;
  batch.tensors["ids"] = text.ids;
  const Tensor last = (text.targets != not_scored).to(at::kLong).argmax(1);
  return at::log_softmax(model.forward(batch).index({at::arange(last.size(0)), last}), -1);
}

Prompted encode_facts(const std::vector<Fact>& facts) {
  return encode(each(facts, &Fact::prompt), each(facts, &Fact::target), each(facts, &Fact::subject));
}

At observed(const Model& model, const std::string& site, const Prompted& text) {
  At watch(site, text.keys);
  Batch batch;
  batch.tensors["ids"] = text.ids;
  model.forward(batch, {}, &watch);
  if (!watch.output.defined()) throw Error(ErrorKind::input, "the model never uses its site '" + site + "'");
  return watch;
}

}  // namespace

Tensor keys_at(const Model& model, const std::string& site, const std::vector<Fact>& facts) {
  at::NoGradGuard guard;
  return observed(model, site, encode_facts(facts)).input.to(at::kDouble).t().contiguous();
}

Shift find_shift(const Model& model, const std::string& site, const std::vector<Fact>& facts,
                 const ShiftOptions& options) {
  const Prompted text = encode_facts(facts), essence = essences(facts);
  Shift shift;
  Tensor size, start;
  // A mask would keep the branch from being added, so the search runs on the same weight without one.
  Model copy = model.mutable_copy({site});
  auto adapter = std::make_shared<PositionShift>();
  {
    at::NoGradGuard guard;
    const At here = observed(model, site, text);
    shift.keys = here.input.to(at::kDouble).t().contiguous();
    size = here.output.norm(2, 1, true);
    shift.before = nats(model, text);
    start = next_bytes(model, essence);
    shift.delta = at::zeros_like(here.output);
    densify(copy.writable(site));
    copy.attach(site, adapter, false);
  }
  const Tensor unit = options.step_size * size / std::sqrt(static_cast<double>(shift.delta.size(1)));
  bool moves = false;
  Tensor mean = at::zeros_like(shift.delta), square = at::zeros_like(shift.delta);
  for (std::int64_t step = 1; step <= options.steps; ++step) {
    at::AutoGradMode recording(true);
    adapter->delta = shift.delta.detach().requires_grad_(true);
    adapter->positions = text.keys;
    const Tensor target = nats(copy, text);
    adapter->positions = essence.keys;
    const Tensor drift = (start.exp() * (start - next_bytes(copy, essence))).sum(1);
    // In lengths of z: in units of its own the term would be all or nothing, as the model's activations are small or
    // large.
    const Tensor length = adapter->delta.square().sum(1) / size.squeeze(1).square();
    const Tensor loss = target + options.divergence * drift + options.decay * length;
    const Tensor gradient = torch::autograd::grad({loss.sum()}, {adapter->delta})[0];
    at::NoGradGuard guard;
    const Tensor open = (target.detach() >= options.stop).unsqueeze(1);
    if (!open.any().item<bool>()) break;
    moves = moves || gradient.any().item<bool>();
    mean = kBeta1 * mean + (1 - kBeta1) * gradient;
    square = kBeta2 * square + (1 - kBeta2) * gradient.square();
    const double bias1 = 1 - std::pow(kBeta1, static_cast<double>(step));
    const double bias2 = 1 - std::pow(kBeta2, static_cast<double>(step));
    const Tensor move = unit * (mean / bias1) / ((square / bias2).sqrt() + kEpsilon);
    Tensor next = shift.delta - move * open;
    next = next * (options.clamp * size / next.norm(2, 1, true).clamp_min(1e-30)).clamp_max(1);
    shift.delta = next;
  }
  at::NoGradGuard guard;
  adapter->delta = shift.delta = shift.delta.detach();
  adapter->positions = text.keys;
  shift.after = nats(copy, text);
  if ((shift.before < options.stop).all().item<bool>()) {
    shift.note = "known already";
  } else if (!moves) {
    // In the last layer nothing carries it from the subject's position to the answer's.
    shift.note = "what the site gives at the subjects does not reach the targets; take a site of an earlier layer";
  } else if (shift.after.mean().item<double>() >= shift.before.mean().item<double>()) {
    shift.note = "nothing was found that makes the targets likelier";
  }
  return shift;
}

}  // namespace colonnade::alphaedit
