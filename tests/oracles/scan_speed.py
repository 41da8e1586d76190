"""Times the CPU scan against the loop over time in PyTorch, in one run on the same cores.

    pip install torch==2.11.0
    python -P tests/oracles/scan_speed.py BUILD/bench/selective_scan [THREADS]

The loop has its exponentials inside, as one writes it; the bench also prints loops in C++. Sides alternate, the best counts.
"""

import re
import subprocess
import sys
import time

import torch

SHAPES = [(1, 1536, 512, 16), (8, 512, 1024, 16)]


def scan(x, delta, a, b, c, d):
    h = torch.zeros(x.shape[0], x.shape[2], a.shape[1])
    y = []
    for t in range(x.shape[1]):
        step = delta[:, t].unsqueeze(-1)
        h = torch.exp(step * a) * h + step * b[:, t].unsqueeze(1) * x[:, t].unsqueeze(-1)
        y.append((h * c[:, t].unsqueeze(1)).sum(-1))
    return torch.stack(y, 1) + x * d


def seconds(repeats, work):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def ours(bench, shape, threads):
    out = subprocess.run([bench, *map(str, shape)], capture_output=True, text=True, check=True).stdout
    print(out.strip(), flush=True)
    row = re.search(rf"mamba::selective_scan +{threads} threads +forward +([0-9.]+) ms .*backward +([0-9.]+) ms", out)
    return float(row[1]) / 1e3, float(row[2]) / 1e3


def main():
    bench = sys.argv[1]
    threads = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    for shape in SHAPES:
        batch, channels, length, states = shape
        inputs = [torch.randn(batch, length, channels), torch.exp(torch.randn(batch, length, channels) - 3),
                  -torch.arange(1.0, states + 1).repeat(channels, 1), torch.randn(batch, length, states),
                  torch.randn(batch, length, states), torch.randn(channels)]
        for tensor in inputs:
            tensor.requires_grad_()
        first = ours(bench, shape, threads)
        with torch.no_grad():
            forward = seconds(5, lambda: scan(*inputs))
        both = seconds(3, lambda: torch.autograd.grad(scan(*inputs).sum(), inputs))
        second = ours(bench, shape, threads)
        own_forward, own_both = min(first[0], second[0]), min(first[1], second[1])
        print(f"{shape}, {threads} threads: PyTorch's loop forward {1e3 * forward:.1f} ms, ratio {forward / own_forward:.1f}; "
              f"with backward {1e3 * both:.1f} ms, ratio {both / own_both:.1f}", flush=True)


if __name__ == "__main__":
    main()
