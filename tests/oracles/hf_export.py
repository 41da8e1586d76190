"""Opens what the op `hf` wrote in Hugging Face's `transformers`, unchanged, and holds its outputs against the fixture that
the model came from: run by hand.

    pip install torch==2.11.0 transformers safetensors numpy pillow
    python -P tests/oracles/hf_export.py FIXTURE EXPORTED

FIXTURE is a folder of tests/oracles/clip or tests/oracles/mamba with expected.safetensors, EXPORTED the folder to which a
model was exported that `clip/load` or `mamba/load` read from it. Fails where a tensor is missing or unexpected, or where an
output differs by more than 1e-5 of the largest.
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoModelForCausalLM, CLIPModel

TOLERANCE = 1e-5


def main():
    fixture, exported = map(pathlib.Path, sys.argv[1:])
    expected = load_file(fixture / "expected.safetensors")
    is_clip = json.loads((exported / "config.json").read_text())["model_type"] == "clip"
    family = CLIPModel if is_clip else AutoModelForCausalLM
    model, loading = family.from_pretrained(exported, output_loading_info=True)
    tied = {"lm_head.weight"}
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not set(loading[problem]) - tied, (problem, loading[problem])
    model.eval()
    with torch.no_grad():
        if is_clip:
            print(AutoImageProcessor.from_pretrained(exported).crop_size)
            logits = model(input_ids=expected["ids"].long(), pixel_values=expected["pixels"].float()).logits_per_image
        else:
            logits = model(input_ids=expected["ids"].long()).logits
    wanted = expected["logits"]
    error = ((logits - wanted).abs().max() / wanted.abs().max()).item()
    print(f"{exported}: largest difference {error:.1e} of the largest output")
    sys.exit(error > TOLERANCE)


if __name__ == "__main__":
    main()
