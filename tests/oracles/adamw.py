"""Makes tests/oracles/adamw.json with PyTorch's AdamW: run by hand, its output is committed.

    pip install torch==2.11.0
    python tests/oracles/adamw.py

Two parameters in float64, one with weight decay and one without, over steps with gradients of very different sizes and a
learning rate that changes: start, gradients, learning rates, and the parameters after every step.
"""

import json
import pathlib

import torch

STEPS = 12
OPTIONS = dict(beta1=0.85, beta2=0.97, epsilon=1e-6, weight_decay=0.2)


def numbers(tensor):
    return tensor.detach().tolist()


def main():
    torch.manual_seed(7)
    matrix = torch.nn.Parameter(torch.randn(3, 4, dtype=torch.float64))
    vector = torch.nn.Parameter(torch.randn(5, dtype=torch.float64))
    shared = dict(betas=(OPTIONS["beta1"], OPTIONS["beta2"]), eps=OPTIONS["epsilon"])
    groups = [dict(params=[matrix], weight_decay=OPTIONS["weight_decay"]), dict(params=[vector], weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=1.0, foreach=False, fused=False, **shared)
    result = dict(options=OPTIONS, matrix=numbers(matrix), vector=numbers(vector), steps=[])
    for step in range(STEPS):
        learning_rate = 0.05 / (1 + step)
        scale = 10.0 ** (step % 4 - 2)
        for parameter in (matrix, vector):
            parameter.grad = torch.randn_like(parameter) * scale
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.step()
        result["steps"].append(dict(
            learning_rate=learning_rate,
            matrix_gradient=numbers(matrix.grad), vector_gradient=numbers(vector.grad),
            matrix=numbers(matrix), vector=numbers(vector)))
    target = pathlib.Path(__file__).with_suffix(".json")
    target.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
