#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "colonnade/tensor/adapter.h"
#include "colonnade/tensor/batch.h"
#include "colonnade/tensor/site.h"
#include "colonnade/tensor/symmetry.h"

namespace colonnade {

class Model;
class SiteRunner;

// Watches a forward pass. Tensors are only valid during the call; they carry no gradients.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual bool wants_site(const SiteSpec&) const { return false; }
  // What the site was given ([..., in], after input scales) and what it gave ([..., out], before the architecture goes on).
  virtual void on_site(const SiteSpec&, const Tensor& input, const Tensor& output) { (void)input, (void)output; }
  virtual bool wants_variables(const Symmetry&) const { return false; }
  // The symmetry's variables, in chunks [samples, size]: one row a token, tokens of a sequence in order.
  virtual void on_variables(const Symmetry&, const Tensor& variables) { (void)variables; }
};

// Work of a forward pass that no site accounts for (a scan, norms), for `sequences` of `length` tokens.
struct FixedCost {
  std::string name;
  double flops = 0;
};

// The code of a model family: structure without weights. Stateless; every method may be called by any thread.
class Architecture {
 public:
  virtual ~Architecture() = default;
  virtual std::string type() const = 0;  // "plugin/name"
  virtual std::vector<SiteSpec> sites(const Json& configuration) const = 0;
  virtual std::vector<Symmetry> symmetries(const Json& configuration) const = 0;
  // Language models: logits [B, L, vocabulary]. Models of pictures and texts: embeddings of length 1 for a batch of one of
  // the two, [B, dim], and for both the logits [pictures, texts]. All weights are reached through the runner.
  virtual Tensor forward(SiteRunner& run, const Json& configuration, const Batch& batch) const = 0;
  // Mean loss over scored targets, in nats. Default: cross entropy of forward's logits against "targets".
  virtual Tensor loss(SiteRunner& run, const Json& configuration, const Batch& batch) const;
  virtual std::vector<FixedCost> fixed_costs(const Json& configuration, std::int64_t length) const = 0;
  // How often a site's weight is applied in one forward pass over `length` tokens (1 a token for most).
  virtual double applications(const Json& configuration, const SiteSpec& site, std::int64_t length) const {
    return (void)configuration, (void)site, static_cast<double>(length);
  }
};
void register_architecture(Registrar& registrar, std::shared_ptr<const Architecture> architecture);
std::shared_ptr<const Architecture> find_architecture(const std::string& type);  // throws Error(input)

struct AttachedAdapter {
  std::string site;
  std::shared_ptr<Adapter> adapter;
  bool trainable = true;
};

// Optimizer state and the like: tensors with the shape of a parameter, by parameter name, then by name ("exp_avg").
using ParameterState = std::map<std::string, NamedTensors>;

// What a hook may reach while a model trains.
struct TrainingStep {
  Model& model;
  ParameterState& optimizer;
  StepInfo info;
  std::function<Batch(std::int64_t index)> training_batch;  // any batch of the training data, by number
};

// Attached to a model, acts on its training. Its configuration and tensors are saved with the model and with checkpoints.
class Hook {
 public:
  virtual ~Hook() = default;
  virtual std::string type() const = 0;  // "plugin/type@format"
  virtual Json configuration() const = 0;
  virtual NamedTensors& tensors() = 0;  // its state; replaced on loading
  virtual std::unique_ptr<Hook> clone() const = 0;
  virtual void before_training(TrainingStep&) {}
  virtual Tensor penalty(const Model&, const StepInfo&) const { return {}; }
  virtual void after_step(TrainingStep&) {}
  virtual void after_training(TrainingStep&) {}
  // The rows (axis 0) or columns (1) of a site were put into another order: new one i is old one index[i].
  virtual void moved(const std::string& site, int axis, const Tensor& index) { (void)site, (void)axis, (void)index; }
  virtual std::map<std::string, double> metrics() const { return {}; }  // shown with progress and in curves
};
struct HookType {
  std::string id;
  std::unique_ptr<Hook> (*load)(const Json& configuration, const NamedTensors& tensors);
};
void register_hook(Registrar& registrar, HookType type);
std::unique_ptr<Hook> load_hook(const std::string& type, const Json& configuration, const NamedTensors& tensors);

// A parameter that training may change.
struct Parameter {
  std::string name;  // "backbone.layers.0.mixer.in_proj:S", "...:U", "...:adapters.0.A"
  std::string site;
  Tensor* tensor;    // replaced by the optimizer in place
  int row_dim = -1, column_dim = -1;
  Tensor mask;       // where defined, elements that must stay zero are false
  double rate = 1;   // times the training's learning rate
};

// A model: configuration, weights by site, adapters, hooks. Copying is cheap: copies share weights, and have adapters and
// hooks of their own. Nothing may be written through a Model but what `mutable_copy` made writable.
class Model {
 public:
  Model(std::shared_ptr<const Architecture> architecture, Json configuration);  // weights are zero; all may be written
  Model(const Model& other);                                                    // not writable, whatever `other` was
  Model(Model&& other) noexcept = default;
  Model& operator=(Model other) noexcept;

  const Architecture& architecture() const { return *architecture_; }
  const Json& configuration() const { return configuration_; }
  const std::vector<SiteSpec>& sites() const { return structure_->sites; }
  const SiteSpec& site(const std::string& name) const;  // throws Error(input) with the nearest name
  const std::vector<Symmetry>& symmetries() const { return structure_->symmetries; }
  const Symmetry& symmetry(const std::string& name) const;
  const SiteWeight& weight(const std::string& site) const;
  const std::vector<AttachedAdapter>& adapters() const { return adapters_; }
  std::vector<const AttachedAdapter*> adapters_of(const std::string& site) const;
  const std::vector<std::shared_ptr<Hook>>& hooks() const { return hooks_; }
  // The floating type that the model computes in: f64, else f32.
  at::ScalarType dtype() const;
  // The type in which weights are kept: `dtype`, or half precision (f16, bf16), which products widen as they read it. Such a
  // model is for reading only.
  at::ScalarType weight_dtype() const;

  // Everything off the tape unless the caller enables gradients.
  Tensor forward(const Batch& batch, const StepInfo& info = {}, Observer* observer = nullptr) const;
  Tensor loss(const Batch& batch, const StepInfo& info = {}, Observer* observer = nullptr) const;
  // Sum of penalties of adapters and hooks, undefined if there are none.
  Tensor penalty(const StepInfo& info) const;

  // A copy whose weights at `sites` (and their adapters, and the list of adapters and hooks) may be written; "all" by omission.
  // Throws Error(input) on weights of half precision.
  Model mutable_copy() const;
  Model mutable_copy(const std::vector<std::string>& sites) const;
  // For writing; throws std::logic_error if the site was not made writable. Tensors are the copy's own from here on: to put
  // others in their place without copying what is there, read `weight` and give `set_weight`.
  SiteWeight& writable(const std::string& site);
  void set_weight(const std::string& site, SiteWeight weight);
  void attach(const std::string& site, std::shared_ptr<Adapter> adapter, bool trainable = true);
  void detach(const std::string& site, const std::string& type);  // every adapter of the type (without format) at the site
  void add_hook(std::shared_ptr<Hook> hook);
  void remove_hooks(const std::string& type_prefix);
  bool site_trainable(const std::string& site) const;
  void set_site_trainable(const std::string& site, bool trainable);
  void set_sites_trainable(bool trainable);     // every site
  void set_adapters_trainable(bool trainable);  // every adapter

  // The parameters that training changes, in a fixed order. Tensors belong to this (writable) model.
  std::vector<Parameter> parameters();
  // Counts: all elements of weights (masked zeros count) and of what adapters train, logits of learned masks included; of
  // these the trainable ones; and the non-zero ones of the effective form, where a mask decides about weights and is none.
  struct Counts {
    std::int64_t all = 0, trainable = 0, nonzero = 0;
  };
  Counts counts() const;

  Field to_field() const;
  static Model from_field(const Field& field);  // throws Error(input) naming site and tensor

 private:
  friend class SiteRunner;
  struct Structure {
    std::vector<SiteSpec> sites;
    std::map<std::string, std::size_t> by_name;
    std::vector<Symmetry> symmetries;
  };
  std::size_t writable_index(const std::string& site) const;  // throws like `writable`

  std::shared_ptr<const Architecture> architecture_;
  Json configuration_;
  std::shared_ptr<const Structure> structure_;
  std::vector<SiteWeight> weights_;  // by site
  std::vector<bool> trainable_;
  // Whether a weight's tensors may be written: not at all, once they are copied, or as they are.
  enum class Access : std::uint8_t { none, shared, own };
  std::vector<Access> access_;
  std::vector<AttachedAdapter> adapters_;
  std::vector<std::shared_ptr<Hook>> hooks_;
};

// How an architecture reaches its weights: representation, masks, adapters, observers and gradients are the runner's business.
class SiteRunner {
 public:
  SiteRunner(const Model& model, const StepInfo& info, Observer* observer);

  // y = W x + b. x [..., in] -> [..., out].
  Tensor linear(const std::string& site, const Tensor& x);
  // The same in two parts, where what follows can add the bias in passing; an undefined bias is in the product already.
  struct Affine {
    Tensor product, bias;
  };
  Affine linear_and_bias(const std::string& site, const Tensor& x);
  // The head of a tied embedding: x [..., dim] -> [..., rows].
  Tensor linear_transposed_embedding(const std::string& site, const Tensor& x);
  // The mean cross entropy of that head's logits against `targets` [...], x [..., dim], in nats. Where nobody watches the
  // site there are never more than some rows of logits at once, in the backward pass neither.
  Tensor head_loss(const std::string& site, const Tensor& x, const Tensor& targets);
  // Depthwise causal convolution along L. x [B, L, channels] -> [B, L, channels].
  Tensor causal_conv1d(const std::string& site, const Tensor& x);
  // silu of it.
  Tensor causal_conv1d_silu(const std::string& site, const Tensor& x);
  // What a convolution of the architecture's own needs: taps [channels, width] and bias [channels] (undefined: none), with
  // scales. It reports nothing, so that where the site is `observed`, `causal_conv1d` has to be called.
  std::pair<Tensor, Tensor> taps(const std::string& site);
  // ids [B, L] -> [B, L, dim].
  Tensor embedding(const std::string& site, const Tensor& ids);
  // RMS normalisation over the last axis times the site's vector; scales apply. fp32 inside for half types.
  Tensor rms_norm(const std::string& site, const Tensor& x, double epsilon);
  // residual + branch, and rms_norm of it; an undefined branch adds nothing.
  struct Normed {
    Tensor sum, normal;
  };
  Normed add_rms_norm(const std::string& site, const Tensor& residual, const Tensor& branch, double epsilon);
  // Normalisation to mean 0 and variance 1 over the last axis, times the site's vector, plus its bias; scales apply.
  Tensor layer_norm(const std::string& site, const Tensor& x, double epsilon);
  // The site's effective tensor [shape], adapters included.
  Tensor parameter(const std::string& site);

  // body(run, x), x being what a layer was given. Where the step says so (StepInfo::recompute) nothing inside is kept for
  // gradients: it is computed again for them, to the same bits. `body` is called after this call returned, so it owns what it
  // captures, and besides x it depends on sites only whose names begin with `prefix`. Not with observers.
  Tensor recomputed(const std::string& prefix, const Tensor& x,
                    const std::function<Tensor(SiteRunner&, const Tensor&)>& body);

  bool training() const { return info_.training; }
  bool observed(const std::string& site) const;
  const StepInfo& info() const { return info_; }
  // The symmetry if the observer wants its variables, else nullptr: ask before computing them.
  const Symmetry* wanted(const std::string& symmetry) const;
  void observe(const Symmetry& symmetry, const Tensor& variables);

 private:
  struct Applied;  // a site's effective weight with scales
  Applied apply(const std::string& site, bool branches);
  Tensor affine(const SiteSpec& site, const Tensor& x, const Tensor& bias, Tensor* bias_left);
  Tensor bias_of(const SiteSpec& site);
  Tensor head_weight(const std::string& site);
  void report(const SiteSpec& site, const Tensor& input, const Tensor& output);

  const Model& model_;
  StepInfo info_;
  Observer* observer_;
};

// Permutes the symmetry's variables: new variable i is old variable order[i] ([size] i64). Acts on reference, S, mask, U, V, adapters
// and `state`. The function stays the same. Needs a model whose members' sites are writable.
void permute(Model& model, const Symmetry& symmetry, const Tensor& order, ParameterState* state = nullptr);

// Writes every adapter of the sites into R + S + U Vᵀ and detaches it: masks first, then updates (masked), then scales. Updates of
// low rank go to S under the mask where the site is masked, else to U Vᵀ while that is smaller.
struct FoldReport {
  std::map<std::string, EditReport> sites;
};
FoldReport fold_adapters(Model& model, const std::vector<std::string>& sites, bool densify = false);

}  // namespace colonnade
