"""Holds the CUDA kernels of a build's plugins against what defines them, through LibTorch's dispatcher.

  python3 tests/device/kernel_checks.py BUILD/lib [small]

Each primitive on the card, in fp32, bf16 and fp16, against the same primitive in float64 on the CPU (where it is written
in tensor ops), against the float64 loop for the scan with step sizes and gate, and against itself, bit for bit. `small`:
few shapes, for compute-sanitizer.
"""

import os
import sys

import torch
import torch.nn.functional as F

BOUNDS = {torch.float32: 1e-4, torch.bfloat16: 1e-2, torch.float16: 1e-2}
generator = torch.Generator().manual_seed(0)
failures = 0


def draw(*sizes):
    return torch.randn(*sizes, generator=generator)


def worst(found, wanted):
    if wanted.numel() == 0:
        return 0.0
    return ((found.cpu().double() - wanted).abs().max() / wanted.abs().max().clamp_min(1e-30)).item()


def hold(name, dtype, found, again, wanted):
    global failures
    errors = [worst(a, b) for a, b in zip(found, wanted)]
    same = all(torch.equal(a, b) for a, b in zip(found, again))
    bad = not max(errors) <= BOUNDS[dtype] or not same
    failures += bad
    print(name, str(dtype)[6:], " ".join(f"{error:.1e}" for error in errors), "same bits" if same else "OTHER BITS",
          "ABOVE" if bad else "", flush=True)


def on_card(tensors, dtypes):
    return [t if t is None else t.to(dtype).cuda() for t, dtype in zip(tensors, dtypes)]


def exact(tensors):
    """What the card was given, in float64 on the CPU."""
    return [t if t is None else t.cpu().double() if t.is_floating_point() else t.cpu() for t in tensors]


def norms(dtype, shapes):
    ops = torch.ops.colonnade
    for rows, width in shapes:
        for branched in (True, False):
            f = torch.float32
            residual, branch, weight = on_card([draw(2, rows, width), draw(2, rows, width) if branched else None,
                                                draw(width)], [f, dtype, f])
            dnormal, dsum = on_card([draw(2, rows, width), draw(2, rows, width) if branched else None], [dtype, f])
            kind = dtype if branched else None

            def run(residual, branch, weight, dnormal, dsum, forward_type, kind):
                total, normal, inverse = ops.add_rms_norm_forward(residual, branch, weight, 1e-5, forward_type)
                back = ops.add_rms_norm_backward(dnormal, dsum, total if branch is not None else residual, weight,
                                                 inverse, kind)
                return [total, normal, inverse, *back]

            given = (residual, branch, weight, dnormal, dsum)
            found, again = (run(*given, dtype, kind) for _ in range(2))
            wanted = run(*exact(given), torch.float64, torch.float64 if branched else None)
            hold(f"add_rms_norm {rows} x {width}{'' if branched else ' alone'}", dtype, found, again, wanted)


def convolutions(dtype, shapes):
    ops = torch.ops.colonnade
    for batch, length, channels, width in shapes:
        for biased in (True, False):
            f = torch.float32
            whole, taps, bias, dy = on_card([draw(batch, length, 2 * channels), draw(channels, width),
                                             draw(channels) if biased else None, draw(batch, length, channels)],
                                            [dtype, f, f, dtype])
            x = whole[..., channels:]  # a slice, as a model has it

            def run(x, taps, bias, dy):
                return [ops.causal_conv1d_forward(x, taps, bias), *ops.causal_conv1d_backward(dy, x, taps, bias)]

            found, again = (run(x, taps, bias, dy) for _ in range(2))
            wanted = run(*exact((x, taps, bias, dy)))
            hold(f"causal_conv1d {batch, length, channels, width}{' bias' if biased else ''}", dtype, found, again, wanted)


def cross_entropies(dtype, shapes):
    for rows, width in shapes:
        logits, = on_card([3 * draw(rows, width)], [dtype])
        targets = torch.randint(0, width, (rows,), generator=generator)
        targets[::3] = -100
        scale = torch.tensor([1.0])

        def run(logits, targets, scale):
            logits = logits.clone()
            return [torch.ops.colonnade.cross_entropy_gradient_(logits, targets, scale), logits]

        found, again = (run(logits, targets.cuda(), scale.cuda()) for _ in range(2))
        hold(f"cross_entropy {rows} x {width}", dtype, found, again, run(*exact((logits, targets, scale))))


def gated_reference(x, delta, bias, a, b, c, d, z, dy, zoh):
    leaves = [t.requires_grad_() for t in (x, delta, bias, a, b, c, d, z)]
    step = F.softplus(delta + bias)
    h, ys = torch.zeros(x.shape[0], x.shape[2], a.shape[1], dtype=x.dtype), []
    for t in range(x.shape[1]):
        exponent = step[:, t, :, None] * a
        held = torch.expm1(exponent) / a if zoh else step[:, t, :, None]
        h = torch.exp(exponent) * h + held * b[:, t, None, :] * x[:, t, :, None]
        ys.append((h * c[:, t, None, :]).sum(-1))
    y = (torch.stack(ys, 1) + d * x) * F.silu(z)
    y.backward(dy)
    return [y.detach(), *(leaf.grad for leaf in leaves)]


def gated_scans(dtype, shapes):
    ops = torch.ops.mamba
    for batch, length, channels, states in shapes:
        for kind in ("mamba", "zoh"):
            f = torch.float32
            xz, packed, delta, bias, a, d, dy = on_card(
                [draw(batch, length, 2 * channels), draw(batch, length, 6 + 2 * states), draw(batch, length, channels),
                 draw(channels) - 2, -torch.exp(draw(channels, states)), draw(channels), draw(batch, length, channels)],
                [dtype, dtype, dtype, f, f, f, dtype])
            x, z = xz[..., :channels], xz[..., channels:]
            b, c = packed[..., 6:6 + states], packed[..., 6 + states:]

            def run():
                y, boundaries = ops.gated_scan_forward(x, delta, bias, a, b, c, d, z, kind, True)
                dx, ddelta, dbias, da, db, dc, dd, dz = ops.gated_scan_backward(dy, x, delta, bias, a, b, c, d, z,
                                                                                boundaries, kind)
                return [y, dx, ddelta, dbias, da, db, dc, dd, dz]

            found, again = run(), run()
            wanted = gated_reference(*exact((x, delta, bias, a, b, c, d, z, dy)), kind == "zoh")
            hold(f"gated_scan {batch, length, channels, states} {kind}", dtype, found, again, wanted)


def main():
    folder, small = sys.argv[1], "small" in sys.argv[2:]
    torch.ops.load_library(os.path.join(folder, "libcolonnade_tensor.so"))
    for name in ("cuda", "mamba", "mamba_cuda"):
        torch.ops.load_library(os.path.join(folder, "colonnade", name + ".plugin.so"))
    for dtype in (torch.float32, torch.bfloat16) if small else BOUNDS:
        norms(dtype, [(5, 36)] if small else [(37, 768), (1, 4), (300, 1024), (9, 2052), (3, 8192), (700, 100)])
        convolutions(dtype, [(2, 70, 12, 4), (1, 9, 5, 3)] if small else
                     [(2, 150, 96, 4), (1, 1, 8, 2), (3, 64, 33, 3), (2, 65, 20, 8), (1, 129, 1536, 4), (2, 3, 16, 5),
                      (1, 40, 12, 6), (1, 300, 7, 7)])
        cross_entropies(dtype, [(3, 40), (2, 33)] if small else [(7, 256), (5, 50280), (3, 33), (64, 1003)])
        gated_scans(dtype, [(1, 40, 12, 16)] if small else [(2, 77, 96, 16), (1, 100, 33, 5), (1, 600, 40, 16)])
    print("FAILED" if failures else "all within bounds", failures)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
