"""Holds the CUDA scan against a float64 loop, and times it against mamba_ssm's kernels in the same run.

  python3 tests/device/scan_checks.py check          every result and gradient over many shapes, and determinism
  python3 tests/device/scan_checks.py small          one small shape a kind, for compute-sanitizer
  python3 tests/device/scan_checks.py profile        one large shape once, for a profiler
  python3 tests/device/scan_checks.py time [PEER.so] milliseconds by events; ratios where mamba_ssm's extension is given

  python3 tests/device/scan_checks.py op FOLDER      the op as LibTorch sees it, of the plugins in FOLDER (lib of a build)

Needs nvcc and a torch with CUDA; builds its library into $SCAN_BUILD (default: /tmp/scan_build).
"""

import ctypes
import importlib.util
import os
import subprocess
import sys

import torch

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ELEMENTS = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
POINTERS = ("x delta z b c a d bias h0 y h_last boundaries dy dh_last dx ddelta dz db dc da dd dbias dh0 "
            "workspace stream").split()
OUTPUTS = ("y h_last").split()
GRADIENTS = "dx ddelta dz db dc da dd dbias dh0".split()


class FlatScan(ctypes.Structure):
    _fields_ = ([(name, ctypes.c_int64) for name in "batch length channels states".split()]
                + [(name, ctypes.c_int32) for name in "element softplus zoh multiprocessors".split()]
                + [(name, ctypes.c_void_p) for name in POINTERS])


def build():
    folder = os.environ.get("SCAN_BUILD", "/tmp/scan_build")
    os.makedirs(folder, exist_ok=True)
    sources = [f"{ROOT}/plugins/mamba_cuda/{name}.cu" for name in ("scan_forward", "scan_backward", "scan_common")]
    sources.append(f"{ROOT}/tests/device/scan_c.cu")
    objects, running = [], []
    for source in sources:
        objects.append(os.path.join(folder, os.path.basename(source) + ".o"))
        running.append(subprocess.Popen(
            ["nvcc", "-std=c++20", "-O3", "-lineinfo", "-gencode", "arch=compute_90,code=sm_90", "-Xcompiler", "-fPIC",
             f"-I{ROOT}", "-c", source, "-o", objects[-1]]))
    if any(process.wait() != 0 for process in running):
        sys.exit("the kernels do not compile")
    library = os.path.join(folder, "libscan.so")
    subprocess.check_call(["nvcc", "-shared", *objects, "-o", library])
    out = ctypes.CDLL(library)
    out.scan_boundary_elements.restype = ctypes.c_int64
    out.scan_workspace.restype = ctypes.c_int64
    return out


class Scan:
    """One problem with random inputs, its outputs and gradients poisoned with NaN."""

    def __init__(self, library, shape, dtype, *, z=True, d=True, bias=True, h0=True, softplus=True, zoh=False, seed=0,
                 slow=False):
        self.library, self.dtype = library, dtype
        batch, length, channels, states = shape
        generator = torch.Generator(device="cuda").manual_seed(seed)

        def randn(*sizes, dtype=torch.float32, scale=1.0):
            return (torch.randn(*sizes, device="cuda", generator=generator) * scale).to(dtype)

        t = {}
        t["x"] = randn(batch, length, channels, dtype=dtype)
        t["z"] = randn(batch, length, channels, dtype=dtype) if z else None
        t["b"] = randn(batch, length, states, dtype=dtype)
        t["c"] = randn(batch, length, states, dtype=dtype)
        t["dy"] = randn(batch, length, channels, dtype=dtype)
        t["a"] = -torch.exp(randn(channels, states))
        if slow:  # long memories, so that what crosses segments counts
            t["a"] *= 1e-3
        t["d"] = randn(channels) if d else None
        t["bias"] = randn(channels) - 2 if bias else None
        t["h0"] = randn(batch, channels, states) if h0 else None
        t["dh_last"] = randn(batch, channels, states) if h0 else None
        t["delta"] = (randn(batch, length, channels, dtype=dtype) if softplus
                      else torch.rand(batch, length, channels, device="cuda", generator=generator).to(dtype))
        if not softplus:
            t["bias"] = None
        self.inputs = t
        self.flat = FlatScan(batch=batch, length=length, channels=channels, states=states, element=ELEMENTS[dtype],
                             softplus=softplus, zoh=zoh)
        self.softplus, self.zoh = softplus, zoh
        self.flat.multiprocessors = torch.cuda.get_device_properties(0).multi_processor_count
        self.out = {"y": torch.empty_like(t["x"]), "h_last": torch.empty(batch, channels, states, device="cuda")}
        for name in ("x", "delta", "z", "b", "c", "a", "d", "bias", "h0"):
            if t[name] is not None:
                self.out["d" + name] = torch.empty_like(t[name])
        for name, tensor in {**t, **self.out}.items():
            if tensor is not None:
                setattr(self.flat, name, tensor.data_ptr())
        self.boundaries = torch.empty(library.scan_boundary_elements(ctypes.byref(self.flat)), device="cuda")
        self.workspace = torch.empty(max(1, library.scan_workspace(ctypes.byref(self.flat))), device="cuda",
                                     dtype=torch.uint8)
        self.flat.boundaries = self.boundaries.data_ptr()
        self.flat.workspace = self.workspace.data_ptr()
        self.flat.stream = torch.cuda.current_stream().cuda_stream

    def poison(self):
        for tensor in (*self.out.values(), self.boundaries):
            tensor.fill_(float("nan"))
        self.workspace.fill_(0xFF)

    def forward(self):
        error = self.library.scan_run_forward(ctypes.byref(self.flat))
        assert error == 0, f"CUDA error {error}"

    def backward(self):
        error = self.library.scan_run_backward(ctypes.byref(self.flat))
        assert error == 0, f"CUDA error {error}"

    def reference(self, dtype):
        """The obvious loop over time, with gradients by autograd."""
        t = {name: tensor.to(dtype).requires_grad_(not name.startswith("dy") and not name.startswith("dh"))
             for name, tensor in self.inputs.items() if tensor is not None}
        delta = t["delta"] + t["bias"] if "bias" in t else t["delta"]
        if self.softplus:
            delta = torch.nn.functional.softplus(delta)
        batch, length, channels = t["x"].shape
        h = t["h0"] if "h0" in t else torch.zeros(batch, channels, t["a"].shape[1], device="cuda", dtype=dtype)
        ys = []
        for step in range(length):
            z = delta[:, step, :, None] * t["a"]
            held = torch.expm1(z) / t["a"] if self.zoh else delta[:, step, :, None]
            h = torch.exp(z) * h + held * t["b"][:, step, None, :] * t["x"][:, step, :, None]
            ys.append((h * t["c"][:, step, None, :]).sum(-1))
        y = torch.stack(ys, 1)
        if "d" in t:
            y = y + t["d"] * t["x"]
        if "z" in t:
            y = y * torch.nn.functional.silu(t["z"])
        loss = (y * t["dy"]).sum()
        if "dh_last" in t:
            loss = loss + (h * t["dh_last"]).sum()
        loss.backward()
        out = {"y": y.detach(), "h_last": h.detach()}
        out.update({"d" + name: tensor.grad for name, tensor in t.items() if tensor.requires_grad})
        return out


def worst(found, wanted):
    return ((found.double() - wanted.double()).abs().max() / wanted.double().abs().max()).item()


def check(library):
    failures = 0
    cases = []
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        cases += [((2, 77, 96, 16), dtype, {}), ((1, 300, 33, 16), dtype, {"zoh": True}),
                  ((2, 64, 64, 16), dtype, {"z": False, "d": False, "h0": False, "bias": False}),
                  ((1, 50, 70, 5), dtype, {}), ((1, 41, 40, 40), dtype, {}), ((1, 3, 8, 256), dtype, {"zoh": True}),
                  ((3, 1, 5, 1), dtype, {}), ((1, 2048, 64, 16), dtype, {"slow": True}),
                  ((1, 1000, 40, 16), dtype, {"slow": True, "zoh": True, "softplus": False})]
    for number, (shape, dtype, options) in enumerate(cases):
        scan = Scan(library, shape, dtype, seed=number, **options)
        scan.poison()
        scan.forward()
        scan.backward()
        first = {name: tensor.clone() for name, tensor in scan.out.items()}
        scan.poison()
        scan.forward()
        scan.backward()
        same = all(torch.equal(first[name], scan.out[name]) for name in first)
        wanted = scan.reference(torch.float64)
        loop = scan.reference(torch.float32) if dtype == torch.float32 else None
        line = []
        for name, tensor in scan.out.items():
            error = worst(tensor, wanted[name])
            bound = (1e-5 if name in OUTPUTS else 1e-4) if dtype == torch.float32 else 1e-2
            if loop is not None:
                bound = max(bound, 2 * worst(loop[name], wanted[name]))
            bad = not error <= bound
            failures += bad
            line.append(f"{name} {error:.1e}" + (f" ABOVE {bound:.1e}" if bad else ""))
        failures += not same
        print(shape, str(dtype)[6:], options, "same bits" if same else "OTHER BITS", "|", ", ".join(line), flush=True)
    print("FAILED" if failures else "all within bounds", failures)
    return failures


def milliseconds(run, repeat=20):
    for _ in range(3):
        run()
    times = []
    for _ in range(repeat):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return sorted(times)[repeat // 2]


def peer_of(path, scan):
    """mamba_ssm's forward and backward on the same numbers, in its own layout [B, D, L]."""
    spec = importlib.util.spec_from_file_location("selective_scan_cuda", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    t = scan.inputs

    def turned(name):
        return t[name].transpose(1, 2).contiguous()

    u, delta, z, dout = turned("x"), turned("delta"), turned("z"), turned("dy")
    b, c = turned("b").unsqueeze(1), turned("c").unsqueeze(1)

    def forward():
        return module.fwd(u, delta, t["a"], b, c, t["d"], z, t["bias"], True)

    out, x, gated = forward()

    def backward():
        return module.bwd(u, delta, t["a"], b, c, t["d"], z, t["bias"], dout, x, out, None, True, False)

    return forward, backward, gated


def highest_clock():
    out = subprocess.check_output(["nvidia-smi", "--query-gpu=clocks.max.sm", "--format=csv,noheader,nounits"], text=True)
    return float(out.split()[0]) * 1e6


def timing(library, peer):
    shapes = [(8, 1536, 512, 16), (8, 1536, 2048, 16), (8, 1536, 8192, 16), (1, 1536, 65536, 16), (8, 5120, 2048, 16)]
    properties = torch.cuda.get_device_properties(0)
    clock = highest_clock()
    big = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    other = torch.empty_like(big)
    bandwidth = 2 * big.numel() / milliseconds(lambda: other.copy_(big)) * 1e3
    del big, other
    print(f"{properties.name}, copy {bandwidth / 1e12:.2f} TB/s, clock {clock / 1e9:.2f} GHz")
    print("dtype, (B, D, L, N): forward ms (of exponentials' limit, of bandwidth) peer ms ratio | backward likewise")
    for dtype in (torch.float32, torch.bfloat16):
        for batch, channels, length, states in shapes:
            scan = Scan(library, (batch, length, channels, states), dtype, h0=False)
            elements = batch * channels * length
            size = scan.inputs["x"].element_size()
            exp_limit = elements * states / (16 * properties.multi_processor_count * clock) * 1e3
            state_bytes = 2 * batch * length * states * size
            forward_bytes = (4 * elements * size + state_bytes) / bandwidth * 1e3
            backward_bytes = (7 * elements * size + 2 * state_bytes) / bandwidth * 1e3
            saving = milliseconds(scan.forward)
            backward = milliseconds(scan.backward)
            boundaries, scan.flat.boundaries = scan.flat.boundaries, None
            forward = milliseconds(scan.forward)
            scan.flat.boundaries = boundaries
            line = (f"{str(dtype)[6:]:9} {(batch, channels, length, states)}: {forward:.3f} ({exp_limit / forward:.0%}, "
                    f"{forward_bytes / forward:.0%}; saving states {saving:.3f})")
            tail = f"{backward:.3f} ({exp_limit / backward:.0%}, {backward_bytes / backward:.0%})"
            if peer is not None:
                peer_forward, peer_backward, gated = peer_of(peer, scan)
                scan.forward()
                error = worst(scan.out["y"].transpose(1, 2), gated)
                theirs = milliseconds(peer_forward)
                line += f" peer {theirs:.3f} = {theirs / forward:.2f}x [{theirs / saving:.2f}x saving; apart {error:.1e}]"
                theirs = milliseconds(peer_backward)
                tail += f" peer {theirs:.3f} = {theirs / backward:.2f}x"
            print(line, "|", tail, flush=True)
            del scan
            torch.cuda.empty_cache()


def small(library):
    for dtype in (torch.float32, torch.bfloat16):
        for zoh in (False, True):
            for shape in ((2, 37, 40, 16), (1, 600, 33, 16), (1, 20, 8, 37)):
                scan = Scan(library, shape, dtype, zoh=zoh)
                scan.poison()
                scan.forward()
                scan.backward()
                torch.cuda.synchronize()
                assert all(tensor.isfinite().all() for tensor in scan.out.values())
    print("small: done")


def profile(library):
    for dtype in (torch.float32, torch.bfloat16):
        scan = Scan(library, (8, 2048, 1536, 16), dtype, h0=False)
        for _ in range(2):
            scan.forward()
            scan.backward()
        torch.cuda.synchronize()


def op(folder):
    """The dispatcher's op with gradients on the card against itself on the CPU in float64."""
    for path in ("colonnade/mamba.plugin.so", "colonnade/mamba_cuda.plugin.so"):
        torch.ops.load_library(os.path.join(folder, path))
    generator = torch.Generator().manual_seed(0)
    failures = 0
    for dtype, bound in ((torch.float32, 1e-4), (torch.bfloat16, 1e-2)):
        for discretization in ("mamba", "zoh"):
            def draw(*sizes):
                return torch.randn(*sizes, generator=generator)

            wide = draw(2, 150, 2 * 48 + 2 * 16)  # x and B, C as slices of larger arrays, as a model has them
            full = [wide[..., :48], torch.rand(2, 150, 48, generator=generator), -torch.exp(draw(48, 16)),
                    wide[..., 96:112], wide[..., 112:], draw(48), draw(2, 48, 16)]
            halves = {0, 1, 3, 4}
            found = [t.to(dtype if i in halves else torch.float32).cuda().requires_grad_() for i, t in enumerate(full)]
            wanted = [t.detach().cpu().double().requires_grad_() for t in found]
            weights = draw(2, 150, 48).to(dtype), draw(2, 48, 16)
            results = []
            for inputs in (found, wanted):
                y, h_last = torch.ops.mamba.selective_scan(*inputs, discretization)
                torch.autograd.backward((y, h_last), [w.to(t) for w, t in zip(weights, (y, h_last))])
                results.append([y, h_last] + [t.grad for t in inputs])
            errors = [worst(a.cpu(), b) for a, b in zip(*results)]
            failures += not max(errors) <= bound
            print("op", str(dtype)[6:], discretization, " ".join(f"{error:.1e}" for error in errors))
    bad = torch.zeros(1, 2, 3, device="cuda", dtype=torch.float64)
    try:
        torch.ops.mamba.selective_scan(bad, bad, bad[0].T, bad, bad, None, None, "mamba")
        failures += 1
    except RuntimeError as error:
        print("float64:", str(error).splitlines()[0])
    print("FAILED" if failures else "the op agrees", failures)
    return failures


if __name__ == "__main__":
    what = sys.argv[1] if len(sys.argv) > 1 else "check"
    if what == "op":
        sys.exit(1 if op(sys.argv[2]) else 0)
    kernels = build()
    if what == "check":
        sys.exit(1 if check(kernels) else 0)
    if what == "small":
        small(kernels)
    if what == "profile":
        profile(kernels)
    if what == "time":
        timing(kernels, sys.argv[2] if len(sys.argv) > 2 else None)
