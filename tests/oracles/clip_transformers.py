"""Makes the fixtures in tests/oracles/clip with Hugging Face's `transformers`: run by hand, its output is committed.

    pip install torch==2.11.0 transformers safetensors numpy
    python -P tests/oracles/clip_transformers.py     (-P: beside it lies a file named like a module of Python)

Small random CLIP models with every tensor randomised (a fresh model's norms are one and its biases zero, so that a forgotten
tensor would pass unseen). For each a folder:

    config.json               as `transformers` writes it; none in the authors' layout, which has none
    model.safetensors         weights in float32
    expected.safetensors      pixels, ids and, in float64: pictures and texts (embeddings of length 1),
                              logits, loss; for "dual" also "gradient:NAME" for some tensors
    own_error in the metadata its own error in float32 against float64, relative to the largest logit
"""

import pathlib

import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel

FOLDER = pathlib.Path(__file__).parent / "clip"
PAIRS = 3

CASES = {
    # Towers of one width, QuickGELU, an end token that is not the highest id and occurs twice in a text.
    "square": dict(
        text=dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, vocab_size=50,
                  max_position_embeddings=12, eos_token_id=7, bos_token_id=6, hidden_act="quick_gelu"),
        vision=dict(hidden_size=24, intermediate_size=36, num_hidden_layers=2, num_attention_heads=3, image_size=12,
                    patch_size=4, hidden_act="quick_gelu"),
        dimensions=16,
    ),
    # Towers of different widths and depths, GELU, other epsilons, the early files' end token: the highest id counts.
    "dual": dict(
        text=dict(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, vocab_size=40,
                  max_position_embeddings=9, eos_token_id=2, bos_token_id=0, hidden_act="gelu", layer_norm_eps=1e-4),
        vision=dict(hidden_size=30, intermediate_size=20, num_hidden_layers=2, num_attention_heads=5, image_size=10,
                    patch_size=5, hidden_act="gelu", layer_norm_eps=1e-3),
        dimensions=12,
    ),
    # In the authors' layout, which shows no heads: 64 values each.
    "original": dict(
        text=dict(hidden_size=64, intermediate_size=32, num_hidden_layers=2, num_attention_heads=1, vocab_size=30,
                  max_position_embeddings=8, eos_token_id=2, bos_token_id=0, hidden_act="quick_gelu"),
        vision=dict(hidden_size=128, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=8,
                    patch_size=4, hidden_act="quick_gelu"),
        dimensions=10,
    ),
}


def randomise(model, generator):
    """Every tensor from a distribution of its own, large enough to matter in the logits."""
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            if name == "logit_scale":
                value = torch.tensor(1.7)
            elif "norm" in name and name.endswith("weight"):
                value = 1.0 + 0.4 * noise
            elif name.endswith("bias"):
                value = 0.4 * noise
            elif "embedding" in name and "patch" not in name:
                value = 0.7 * noise
            else:
                value = 1.3 * noise / tensor[0].numel() ** 0.5
            tensor.copy_(value.to(torch.float32))


def make_ids(text, generator):
    ids = torch.randint(8, text["vocab_size"] - 1, (PAIRS, text["max_position_embeddings"]), generator=generator)
    if text["eos_token_id"] == 2:
        ids[0, 4] = ids[1, 6] = ids[2, 3] = text["vocab_size"] - 1
        ids[2, 5] = text["vocab_size"] - 1
    else:
        ids[0, 4] = ids[0, 8] = ids[1, 9] = text["eos_token_id"]  # none in the third text
    return ids


def evaluate(model, pixels, ids):
    out = model(input_ids=ids, pixel_values=pixels, return_loss=True)
    return out.image_embeds, out.text_embeds, out.logits_per_image, out.loss


def write_case(name, settings, seed):
    generator = torch.Generator().manual_seed(seed)
    config = CLIPConfig(text_config=settings["text"], vision_config=settings["vision"],
                        projection_dim=settings["dimensions"])
    config._attn_implementation = "sdpa"  # the eager one takes its softmax in float32
    model = CLIPModel(config).eval()
    randomise(model, generator)
    size = settings["vision"]["image_size"]
    pixels = torch.randn(PAIRS, 3, size, size, generator=generator)
    ids = make_ids(settings["text"], generator)
    with torch.no_grad():
        single = evaluate(model, pixels, ids)[2]
    tensors = {k: v.detach().clone() for k, v in model.named_parameters()}
    model.double()
    pictures, texts, logits, loss = evaluate(model, pixels.double(), ids)
    loss.backward()
    own_error = ((single.double() - logits).abs().max() / logits.abs().max()).item()
    expected = {
        "pixels": pixels,
        "ids": ids,
        "pictures": pictures.detach(),
        "texts": texts.detach(),
        "logits": logits.detach().contiguous(),
        "loss": loss.detach().reshape(1),
    }
    if name == "dual":
        for key, parameter in model.named_parameters():
            if "layers.1." not in key:
                expected["gradient:" + key] = parameter.grad.to(torch.float32)
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    if name == "original":
        tensors = as_original(tensors, settings)
    else:
        (folder / "config.json").write_text(config.to_json_string(use_diff=False))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    save_file(expected, folder / "expected.safetensors", metadata={"own_error": f"{own_error:.3e}"})
    print(name, "own error in float32:", f"{own_error:.3e}", "largest logit:", f"{logits.abs().max().item():.2f}")


def as_original(tensors, settings):
    """The same weights as the authors' code names and lays them out."""
    outer = {
        "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
        "text_model.embeddings.position_embedding.weight": "positional_embedding",
        "text_model.final_layer_norm.weight": "ln_final.weight",
        "text_model.final_layer_norm.bias": "ln_final.bias",
        "vision_model.embeddings.class_embedding": "visual.class_embedding",
        "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
        "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
        "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
        "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
        "vision_model.post_layernorm.weight": "visual.ln_post.weight",
        "vision_model.post_layernorm.bias": "visual.ln_post.bias",
        "logit_scale": "logit_scale",
    }
    renamed = {new: tensors[old] for old, new in outer.items()}
    renamed["visual.proj"] = tensors["visual_projection.weight"].t().contiguous()
    renamed["text_projection"] = tensors["text_projection.weight"].t().contiguous()
    inner = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc",
             "mlp.fc2": "mlp.c_proj"}
    for side, block in (("text", "transformer.resblocks"), ("vision", "visual.transformer.resblocks")):
        for layer in range(settings[side]["num_hidden_layers"]):
            old, new = f"{side}_model.encoder.layers.{layer}.", f"{block}.{layer}."
            for kind in ("weight", "bias"):
                for a, b in inner.items():
                    renamed[f"{new}{b}.{kind}"] = tensors[f"{old}{a}.{kind}"]
                parts = [tensors[f"{old}self_attn.{p}_proj.{kind}"] for p in "qkv"]
                renamed[f"{new}attn.in_proj_{kind}"] = torch.cat(parts)
    length = settings["text"]["max_position_embeddings"]
    renamed["attn_mask"] = torch.full((length, length), float("-inf")).triu(1)
    return renamed


if __name__ == "__main__":
    torch.set_num_threads(1)
    for number, (case, case_settings) in enumerate(CASES.items()):
        write_case(case, case_settings, seed=number)
