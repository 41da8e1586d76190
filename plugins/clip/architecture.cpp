#include "architecture.h"

#include <ATen/Functions.h>

#include <limits>

#include "activation.h"
#include "colonnade/error.h"

namespace colonnade::clip {
namespace {

/// One transformer in the midst of a forward pass.
class TowerPass {
 public:
  TowerPass(SiteRunner& run, const Configuration& configuration, Side side)
      : run_(run), tower_(tower_of(configuration, side)), side_(side) {}

  Tensor operator()(Tensor x) {
    const Symmetry* stream = run_.wanted(side_name(side_));
    for (std::int64_t layer = 0; layer < tower_.layers; ++layer) {
      const std::string prefix = layer_prefix(side_, layer);
      x = x + attention(layer, run_.layer_norm(prefix + "layer_norm1", x, tower_.norm_epsilon));
      x = x + mlp(layer, run_.layer_norm(prefix + "layer_norm2", x, tower_.norm_epsilon));
      if (stream != nullptr) run_.observe(*stream, x);
    }
    return x;
  }

 private:
  /// [B, L, width] as [B, heads, L, head width].
  Tensor by_head(const Tensor& x) const {
    return x.view({x.size(0), x.size(1), tower_.heads, tower_.head_width()}).transpose(1, 2);
  }

  Tensor attention(std::int64_t layer, const Tensor& x) {
    const std::string prefix = layer_prefix(side_, layer) + "self_attn.";
    const Tensor queries = run_.linear(prefix + "q_proj", x);
    const Tensor keys = run_.linear(prefix + "k_proj", x);
    const Tensor values = run_.linear(prefix + "v_proj", x);
    const Tensor heads = at::scaled_dot_product_attention(by_head(queries), by_head(keys), by_head(values), {}, 0.0,
                                                          side_ == Side::text);
    const Tensor outputs = heads.transpose(1, 2).reshape(x.sizes());
    observe_heads(layer, queries, outputs);
    return run_.linear(prefix + "out_proj", outputs);
  }

  Tensor mlp(std::int64_t layer, const Tensor& x) {
    const std::string prefix = layer_prefix(side_, layer) + "mlp.";
    const Tensor hidden = activate(tower_.activation, run_.linear(prefix + "fc1", x));
    if (const Symmetry* units = run_.wanted(symmetry_prefix(layer) + "hidden")) run_.observe(*units, hidden);
    return run_.linear(prefix + "fc2", hidden);
  }

  std::string symmetry_prefix(std::int64_t layer) const {
    return std::string(side_name(side_)) + ".layers." + std::to_string(layer) + ".";
  }

  void observe_heads(std::int64_t layer, const Tensor& queries, const Tensor& outputs) {
    const std::string prefix = symmetry_prefix(layer);
    const std::int64_t each = tower_.head_width();
    if (const Symmetry* heads = run_.wanted(prefix + "heads")) {
      run_.observe(*heads, outputs.reshape({-1, tower_.heads, each}).mean(2));
    }
    for (std::int64_t head = 0; head < tower_.heads; ++head) {
      const std::string own = prefix + "head." + std::to_string(head) + ".";
      if (const Symmetry* all = run_.wanted(own + "values")) run_.observe(*all, outputs.narrow(-1, head * each, each));
      if (const Symmetry* all = run_.wanted(own + "queries")) run_.observe(*all, queries.narrow(-1, head * each, each));
    }
  }

  SiteRunner& run_;
  const Tower& tower_;
  Side side_;
};

Tensor of_length_one(const Tensor& x) {
  return x / x.norm(2, {-1}, true);
}

Tensor positions(std::int64_t count, const Tensor& like) {
  return at::arange(count, like.options().dtype(at::kLong)).unsqueeze(0);
}

void check_pixels(const Configuration& c, const Tensor& pixels) {
  constexpr std::int64_t kDimensions = 4, kChannels = 3;
  if (pixels.dim() == kDimensions && pixels.size(1) == kChannels && pixels.size(2) == c.picture &&
      pixels.size(3) == c.picture && pixels.is_floating_point()) {
    return;
  }
  throw Error(ErrorKind::input, "this CLIP model reads pixels [B, 3, " + std::to_string(c.picture) + ", " +
                                    std::to_string(c.picture) + "] of floating numbers; the batch has " +
                                    Json(pixels.sizes().vec()).dump() + " of " + c10::toString(pixels.scalar_type()));
}

/// [B, 3, S, S] as rows of patches, [B, patches, 3 p p], in the order of a convolution's kernel.
Tensor patches_of(const Configuration& c, const Tensor& pixels) {
  constexpr std::int64_t kChannels = 3;
  return pixels.reshape({-1, kChannels, c.grid(), c.patch, c.grid(), c.patch})
      .permute({0, 2, 4, 1, 3, 5})
      .reshape({-1, c.patches(), c.patch_values()});
}

Tensor embed_pictures(SiteRunner& run, const Configuration& c, const Tensor& given, at::ScalarType type) {
  check_pixels(c, given);
  const Tensor pixels = given.to(type);
  const Tensor patches = run.linear(kPatchEmbedding, patches_of(c, pixels));
  const Tensor front = run.parameter(kClassEmbedding).expand({pixels.size(0), 1, c.vision.width});
  Tensor x = at::cat({front, patches}, 1) + run.embedding(kVisionPositions, positions(c.patches() + 1, pixels));
  x = TowerPass(run, c, Side::vision)(run.layer_norm(kPreNorm, x, c.vision.norm_epsilon));
  const Tensor pooled = run.layer_norm(kPostNorm, x.select(1, 0), c.vision.norm_epsilon);
  return of_length_one(run.linear(kVisionProjection, pooled));
}

void check_ids(const Configuration& c, const Tensor& ids) {
  if (ids.dim() != 2 || ids.scalar_type() != at::kLong || ids.size(1) < 1) {
    throw Error(ErrorKind::input, "a CLIP model reads ids [B, L] of 64-bit integers");
  }
  if (ids.size(1) > c.length) {
    throw Error(ErrorKind::input, "texts of " + std::to_string(ids.size(1)) + " tokens, but the model has " +
                                      std::to_string(c.length) + " positions");
  }
  if (ids.numel() == 0) return;
  const auto lowest = ids.min().item<std::int64_t>(), highest = ids.max().item<std::int64_t>();
  if (lowest >= 0 && highest < c.vocabulary) return;
  throw Error(ErrorKind::input, "token id " + std::to_string(lowest < 0 ? lowest : highest) +
                                    " is outside the model's vocabulary of " + std::to_string(c.vocabulary));
}

/// Where each text is read off, [B].
Tensor end_positions(const Configuration& c, const Tensor& ids) {
  const Tensor marked = c.pooling == Pooling::highest_id ? ids : ids.eq(c.end_token).to(at::kInt);
  return marked.argmax(-1);  // the first of several
}

Tensor embed_texts(SiteRunner& run, const Configuration& c, const Tensor& given) {
  check_ids(c, given);
  const Tensor ends = end_positions(c, given);
  const std::int64_t length = given.size(0) > 0 ? ends.max().item<std::int64_t>() + 1 : given.size(1);
  const Tensor ids = given.narrow(1, 0, length);
  Tensor x = run.embedding(kTokenEmbedding, ids) + run.embedding(kTextPositions, positions(length, ids));
  x = TowerPass(run, c, Side::text)(x);
  const Tensor index = ends.reshape({-1, 1, 1}).expand({-1, 1, c.text.width});
  const Tensor pooled = run.layer_norm(kTextNorm, x.gather(1, index).squeeze(1), c.text.norm_epsilon);
  return of_length_one(run.linear(kTextProjection, pooled));
}

/// Texts that name the same class become one: the mean of their embeddings, of length 1 again.
Tensor class_means(const Tensor& texts, const Tensor& classes) {
  if (classes.dim() != 1 || classes.numel() != texts.size(0) || classes.numel() == 0) {
    throw Error(ErrorKind::input, "the batch has " + std::to_string(texts.size(0)) + " texts and 'classes' for " +
                                      std::to_string(classes.numel()));
  }
  const Tensor sums = at::zeros({classes.max().item<std::int64_t>() + 1, texts.size(1)}, texts.options());
  return of_length_one(sums.index_add(0, classes, texts));
}

Tensor logits_of(SiteRunner& run, const Tensor& pictures, const Tensor& texts) {
  return at::matmul(pictures, texts.t()) * run.parameter(kLogitScale).exp();
}

Tensor contrastive_loss(const Tensor& logits, const Tensor& groups) {
  Tensor seen = logits;
  if (groups.defined()) {
    const Tensor same = groups.reshape({-1, 1}).eq(groups.reshape({1, -1}));
    const Tensor other = at::eye(groups.numel(), groups.options().dtype(at::kBool)).logical_not();
    seen = logits.masked_fill(at::logical_and(same, other), -std::numeric_limits<double>::infinity());
  }
  const Tensor own = at::arange(logits.size(0), logits.options().dtype(at::kLong));
  return (at::cross_entropy_loss(seen, own) + at::cross_entropy_loss(seen.t(), own)) / 2;
}

}  // namespace

Tensor Clip::forward(SiteRunner& run, const Json& document, const Batch& batch) const {
  const Configuration c = configuration_from(document);
  Tensor pictures, texts;
  if (batch.has("pixels")) pictures = embed_pictures(run, c, batch.at("pixels"), c.wide ? at::kDouble : at::kFloat);
  if (batch.has("ids")) texts = embed_texts(run, c, batch.at("ids"));
  if (texts.defined() && batch.has("classes")) texts = class_means(texts, batch.at("classes"));
  if (pictures.defined() && texts.defined()) return logits_of(run, pictures, texts);
  if (pictures.defined()) return pictures;
  if (texts.defined()) return texts;
  throw Error(ErrorKind::input, "the batch has neither 'pixels' nor 'ids', which a CLIP model reads");
}

Tensor Clip::loss(SiteRunner& run, const Json& document, const Batch& batch) const {
  batch.at("pixels"), batch.at("ids");
  const Tensor logits = forward(run, document, batch);
  if (batch.has("targets")) {
    return at::cross_entropy_loss(logits, batch.at("targets"), {}, at::Reduction::Mean, not_scored);
  }
  if (logits.size(0) != logits.size(1)) {
    throw Error(ErrorKind::input, "a contrastive loss needs a text for each picture; the batch has " +
                                      std::to_string(logits.size(0)) + " pictures and " +
                                      std::to_string(logits.size(1)) + " texts");
  }
  return contrastive_loss(logits, batch.has("groups") ? batch.at("groups") : Tensor());
}

}  // namespace colonnade::clip
