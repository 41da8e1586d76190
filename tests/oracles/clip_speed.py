"""Times both towers of a ViT-B/32 against `transformers` in one run on the same cores, and compares embeddings.

    pip install torch==2.11.0 transformers safetensors
    python -P tests/oracles/clip_speed.py BUILD/bench/clip_towers [THREADS] [PICTURES]

Weights are random, in the published layout and sizes. "texts" are captions of 6 to 19 tokens padded to 77; "full texts" have
77 tokens, of which none can be left out. Each side runs three times, alternating; the best of each counts.
"""

import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel

REPEATS, ROUNDS = 7, 3


def median_ms(work):
    work()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def main():
    bench = sys.argv[1]
    threads = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 8
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    pixels = torch.randn(count, 3, 224, 224)
    ids = torch.randint(1, 49000, (count, 77))
    full_ids = ids.clone()
    full_ids[:, 76] = 49407
    for row in range(count):
        end = 5 + row * 13 // max(1, count - 1)
        ids[row, end] = 49407
        ids[row, end + 1 :] = 0

    def unit(output):
        x = output if isinstance(output, torch.Tensor) else output.pooler_output
        return x / x.norm(dim=-1, keepdim=True)

    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        towers = {
            "pictures": lambda: unit(model.get_image_features(pixel_values=pixels)),
            "texts": lambda: unit(model.get_text_features(input_ids=ids)),
            "full texts": lambda: unit(model.get_text_features(input_ids=full_ids)),
        }
        inputs = {"pixels": pixels, "ids": ids, "full_ids": full_ids}
        inputs.update({name.replace(" ", "_"): work().clone() for name, work in towers.items()})
        path = pathlib.Path(folder)
        save_file({k: v.contiguous().clone() for k, v in model.state_dict().items()}, path / "model.safetensors")
        save_file({k: v.contiguous() for k, v in inputs.items()}, path / "inputs.safetensors")
        (path / "config.json").write_text(model.config.to_json_string(use_diff=False))
        theirs, ours, errors = {}, {}, {}
        for _ in range(ROUNDS):
            for name, work in towers.items():
                theirs[name] = min(theirs.get(name, 1e9), median_ms(work))
            printed = subprocess.run([bench, folder, str(threads)], check=True, capture_output=True, text=True).stdout
            for name, ms, error in re.findall(r"^(.*?) ([\d.]+) ms, error (\S+)$", printed, re.M):
                ours[name] = min(ours.get(name, 1e9), float(ms))
                errors[name] = error
    for name in towers:
        print(f"{name}: transformers {theirs[name]:.1f} ms, ours {ours[name]:.1f} ms, "
              f"{theirs[name] / ours[name]:.2f} times as fast, largest relative difference {errors[name]}")


if __name__ == "__main__":
    main()
