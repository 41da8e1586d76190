"""Times a whole Mamba of the 130M shape against `transformers` in one run on the same cores, and compares logits.

    pip install torch==2.11.0 transformers safetensors
    python -P tests/oracles/mamba_speed.py BUILD/bench/mamba_model [--threads 2] [--layers 24] [--length 512] [--train]

Weights are random, in the published layout and sizes. Sides alternate. `--train` times a training step of the reference
too, which takes it minutes; its peak of memory is taken as ours is: the process's high-water mark in the step over what it
holds before, weights and all.
"""

import argparse
import ctypes
import gc
import pathlib
import re
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


def high_water_megabytes():
    return int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path("/proc/self/status").read_text())[1]) / 1024


def peak_beyond(work):
    """MB that work() takes beyond what the process holds: writing 5 sets the high-water mark back to that."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = high_water_megabytes()
    work()
    return high_water_megabytes() - before


def reference(model, ids, train):
    """Seconds of each work, and MB of a training step."""
    found, peaks = {}, {}
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
    if train:
        model.train()

        def step():
            model.zero_grad()
            model(ids, labels=ids).loss.backward()

        def timed_step():
            found["training step"] = best_of(1, step)

        peaks["training step"] = peak_beyond(timed_step)
        model.eval()
    return found, peaks


def ours(bench, folder, threads):
    out = subprocess.run([bench, folder, str(threads)], capture_output=True, text=True, check=True).stdout
    print(out.strip())
    lines = re.findall(r"^([a-z ]+) ([0-9.]+) s, peak ([0-9]+) MB", out, re.M)
    return {name: float(seconds) for name, seconds, _ in lines}, {name: float(peak) for name, _, peak in lines}


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
        first, _ = ours(options.bench, folder, options.threads)
        theirs, their_peaks = reference(model, ids, options.train)
        second, peaks = ours(options.bench, folder, options.threads)
    for of_all in (theirs, their_peaks):
        if "training step" in of_all:
            of_all["training step recomputed"] = of_all["training step"]
    for name, seconds in theirs.items():
        best = min(first[name], second[name])
        print(f"{name}: transformers {seconds:.4f} s, ours {best:.4f} s, ratio {seconds / best:.1f}")
    for name, peak in their_peaks.items():
        print(f"{name}: peak of transformers {peak:.0f} MB, of ours {peaks[name]:.0f} MB, share {peaks[name] / peak:.3f}")


if __name__ == "__main__":
    main()
