"""Makes the fixtures in tests/oracles/mamba with Hugging Face's `transformers`: run by hand, its output is committed.

    pip install torch==2.11.0 transformers safetensors numpy
    python tests/oracles/mamba_transformers.py

Three small random Mamba language models with every tensor randomised: a fresh model has rows of A_log alike, D and norms of
one and no biases, so that a missing permutation or a forgotten tensor would pass unseen. For each a folder:

    config.json               the configuration as `transformers` writes it (original layout: as the authors' code does)
    model.safetensors         weights in float32
    expected.safetensors      ids, targets, logits and loss of the slow path in float64 (logits rounded to float32);
                              for "biased" also "gradient:NAME" for layer 0 and what is outside the layers
    own_error in the metadata the slow path's own error in float32 against float64, relative to the largest logit
"""

import json
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import MambaConfig, MambaForCausalLM

FOLDER = pathlib.Path(__file__).parent / "mamba"
BATCH, LENGTH = 2, 11

CASES = {
    # Neither kind of bias, dt_rank by its default, ceil(24 / 16) = 2, no expansion.
    "plain": dict(
        hidden_size=24, num_hidden_layers=2, state_size=8, vocab_size=67, use_bias=False, use_conv_bias=False, expand=1
    ),
    # Every bias, an odd dt_rank, an odd state size, another convolution width and epsilon.
    "biased": dict(
        hidden_size=32,
        num_hidden_layers=2,
        state_size=5,
        vocab_size=64,
        use_bias=True,
        use_conv_bias=True,
        time_step_rank=5,
        conv_kernel=3,
        layer_norm_epsilon=1e-4,
    ),
    # As published: no bias but the convolution's; also written in the original layout.
    "published": dict(
        hidden_size=24, num_hidden_layers=2, state_size=4, vocab_size=64, use_bias=False, use_conv_bias=True, time_step_rank=3
    ),
}


def randomise(model, generator):
    """Every tensor from a distribution of its own, large enough to matter in the logits."""
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            if name.endswith("A_log"):
                value = 0.5 + 0.7 * noise
            elif name.endswith("dt_proj.bias"):
                value = -1.5 + noise
            elif name.endswith(("norm.weight", "norm_f.weight", ".D")):
                value = 1.0 + 0.4 * noise
            elif name.endswith("bias"):
                value = 0.4 * noise
            elif "embeddings" in name:
                value = 0.7 * noise
            else:
                fan_in = tensor[0].numel()
                value = 1.2 * noise / fan_in**0.5
            tensor.copy_(value.to(torch.float32))


def evaluate(model, ids, targets):
    logits = model(input_ids=ids, use_cache=False).logits
    loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))
    return logits, loss


def write_case(name, settings, seed):
    generator = torch.Generator().manual_seed(seed)
    config = MambaConfig(pad_token_id=0, bos_token_id=0, eos_token_id=0, **settings)
    model = MambaForCausalLM(config).eval()
    randomise(model, generator)
    ids = torch.randint(0, config.vocab_size, (BATCH, LENGTH), generator=generator)
    targets = torch.randint(0, config.vocab_size, (BATCH, LENGTH), generator=generator)
    with torch.no_grad():
        single = evaluate(model, ids, targets)[0]
    tensors = {k: v.detach().clone() for k, v in model.named_parameters()}
    model.double()
    # Two places of the slow path would stay in float32: its norm, and A and D, taken by `.float()`.
    with as_double():
        logits, loss = evaluate(model, ids, targets)
        loss.backward()
    own_error = ((single.double() - logits).abs().max() / logits.abs().max()).item()
    expected = {
        "ids": ids,
        "targets": targets,
        "logits": logits.detach().to(torch.float32),
        "loss": loss.detach().reshape(1),
    }
    if name == "biased":
        for key, parameter in model.named_parameters():
            if "layers.1." in key:
                continue
            expected["gradient:" + key] = parameter.grad.to(torch.float32)
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    save_file(expected, folder / "expected.safetensors", metadata={"own_error": f"{own_error:.3e}"})
    (folder / "config.json").write_text(config.to_json_string(use_diff=False))
    print(name, "own error in float32:", f"{own_error:.3e}", "largest logit:", f"{logits.abs().max().item():.2f}")
    if name == "published":
        write_original(folder.parent / "original", config, tensors)


class as_double:
    """`Tensor.float` and `.to(float32)` keep double tensors double while this lives."""

    def __enter__(self):
        self.float_, self.to_ = torch.Tensor.float, torch.Tensor.to
        float_, to_ = self.float_, self.to_
        torch.Tensor.float = lambda t, *a, **k: t if t.dtype == torch.float64 else float_(t, *a, **k)

        def to(tensor, *args, **kwargs):
            if tensor.dtype == torch.float64 and (torch.float32 in args or kwargs.get("dtype") == torch.float32):
                return tensor
            return to_(tensor, *args, **kwargs)

        torch.Tensor.to = to

    def __exit__(self, *_):
        torch.Tensor.float, torch.Tensor.to = self.float_, self.to_


def write_original(folder, config, tensors):
    """The same weights as the authors' code names them, head included, with its kind of configuration."""
    renamed = {k.replace("backbone.embeddings.", "backbone.embedding."): v for k, v in tensors.items()}
    renamed["lm_head.weight"] = renamed["backbone.embedding.weight"].clone()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    original = {
        "d_model": config.hidden_size,
        "n_layer": config.num_hidden_layers,
        "vocab_size": config.vocab_size,
        "ssm_cfg": {"d_state": config.state_size, "dt_rank": config.time_step_rank},
        "rms_norm": True,
        "residual_in_fp32": True,
        "fused_add_norm": True,
        "pad_vocab_size_multiple": 8,
    }
    (folder / "config.json").write_text(json.dumps(original, indent=2) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for number, (case, case_settings) in enumerate(CASES.items()):
        write_case(case, case_settings, seed=number)
