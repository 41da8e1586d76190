"""Times a whole Mamba of the 130M shape against `transformers` in one run on the same cores, and compares logits.

    pip install torch==2.11.0 transformers safetensors
    python -P tests/oracles/mamba_speed.py BUILD/bench/mamba_model [--threads 2] [--layers 24] [--length 512] [--train]

Weights are random, in the published layout and sizes. Sides alternate. `--train` times a training step of the reference
too, which takes it minutes.
"""

import argparse
import pathlib
import re
import resource
import subprocess
import tempfile
import time

import torch
from safetensors.torch import save_file
from transformers import MambaConfig, MambaForCausalLM


def best_of(repeats, work):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def reference(model, ids, train):
    found = {}
    with torch.inference_mode():
        found["prefill"] = best_of(2, lambda: model(ids))
        tokens = 16
        state = model(ids, use_cache=True)
        token = state.logits[:, -1:].argmax(-1)
        cache = state.cache_params

        def decode():
            current = token
            for step in range(tokens):
                out = model(current, cache_params=cache, use_cache=True)
                current = out.logits[:, -1:].argmax(-1)

        found["decode"] = best_of(2, decode) / tokens
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if train:
        model.train()

        def step():
            model.zero_grad()
            model(ids, labels=ids).loss.backward()

        found["training step"] = best_of(1, step)
        print(f"reference's training step: peak {(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024:.0f} MB more")
        model.eval()
    return found


def ours(bench, folder, threads):
    out = subprocess.run([bench, folder, str(threads)], capture_output=True, text=True, check=True).stdout
    print(out.strip())
    return {name.strip(): float(value) for name, value in re.findall(r"^([a-z ]+) ([0-9.]+) s,", out, re.M)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--train", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    config = MambaConfig(vocab_size=50280, hidden_size=768, num_hidden_layers=options.layers, state_size=16, use_mambapy=False)
    model = MambaForCausalLM(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "A_log" not in name:
                parameter.add_(0.02 * torch.randn_like(parameter))
    ids = torch.randint(0, 50000, (1, options.length))
    with tempfile.TemporaryDirectory() as folder:
        with torch.inference_mode():
            last = model(ids).logits[:, -1].clone()
        save_file({"ids": ids, "last_logits": last}, pathlib.Path(folder) / "inputs.safetensors")
        model.save_pretrained(folder)
        first = ours(options.bench, folder, options.threads)
        theirs = reference(model, ids, options.train)
        second = ours(options.bench, folder, options.threads)
    if "training step" in theirs:
        theirs["training step recomputed"] = theirs["training step"]
    for name, seconds in theirs.items():
        best = min(first[name], second[name])
        print(f"{name}: transformers {seconds:.4f} s, ours {best:.4f} s, ratio {seconds / best:.1f}")


if __name__ == "__main__":
    main()
