"""mamba_ssm and transformers beside which a training step on a card is timed.

  python3 tests/device/peers.py build SOURCES TO      the extensions of mamba_ssm and causal_conv1d, from their sources
  python3 tests/device/peers.py step NAME BATCH LENGTH SOURCES BUILT      one of mamba_ssm, transformers

SOURCES holds the unpacked source archives mamba_ssm-* and causal_conv1d-*, and the package einops. The step is that of
the 130M shape: bf16 autocast, loss, gradients, their norm clipped at 1, AdamW in its fused form.
"""

import glob
import importlib.util
import os
import sys
import threading
import types

import torch

LAYERS, WIDTH, VOCABULARY = 24, 768, 50280


def source(folder, name):
    return sorted(glob.glob(os.path.join(folder, name + "-*")))[0]


def build(folder, to):
    from torch.utils import cpp_extension

    os.environ["TORCH_CUDA_ARCH_LIST"] = "9.0"
    flags = ["-O3", "-std=c++20", "-U__CUDA_NO_HALF_OPERATORS__", "-U__CUDA_NO_HALF_CONVERSIONS__",
             "-U__CUDA_NO_BFLOAT16_OPERATORS__", "-U__CUDA_NO_BFLOAT16_CONVERSIONS__",
             "-U__CUDA_NO_BFLOAT162_OPERATORS__", "-U__CUDA_NO_BFLOAT162_CONVERSIONS__", "--expt-relaxed-constexpr",
             "--expt-extended-lambda", "--use_fast_math"]
    jobs = [("selective_scan_cuda", source(folder, "mamba_ssm") + "/csrc/selective_scan"),
            ("causal_conv1d_cuda", source(folder, "causal_conv1d") + "/csrc")]
    os.makedirs(to, exist_ok=True)

    def make(name, path):
        where = os.path.join(to, name + "_build")
        os.makedirs(where, exist_ok=True)
        cpp_extension.load(name, sorted(glob.glob(path + "/*.cpp") + glob.glob(path + "/*.cu")), build_directory=where,
                           extra_cflags=["-O3", "-std=c++20"], extra_cuda_cflags=flags, is_python_module=True)
        os.replace(os.path.join(where, name + ".so"), os.path.join(to, name + ".so"))

    running = [threading.Thread(target=make, args=job) for job in jobs]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    for name, _ in jobs:
        if not os.path.exists(os.path.join(to, name + ".so")):
            sys.exit(f"{name} was not built")


def load_extension(built, name):
    spec = importlib.util.spec_from_file_location(name, os.path.join(built, name + ".so"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module


def import_mamba(folder, built):
    load_extension(built, "selective_scan_cuda")
    load_extension(built, "causal_conv1d_cuda")
    sys.path[:0] = [folder, source(folder, "causal_conv1d")]
    # Without the package's own start, which wants parts that a first Mamba does not.
    package = types.ModuleType("mamba_ssm")
    package.__path__ = [source(folder, "mamba_ssm") + "/mamba_ssm"]
    sys.modules["mamba_ssm"] = package
    modules = types.ModuleType("mamba_ssm.modules")
    modules.__path__ = [package.__path__[0] + "/modules"]
    sys.modules["mamba_ssm.modules"] = modules


class MambaSsm(torch.nn.Module):
    """The model as mamba_ssm's own language model has it: blocks with fused addition and norm, a tied head."""

    def __init__(self):
        super().__init__()
        from functools import partial

        from mamba_ssm.modules.block import Block
        from mamba_ssm.modules.mamba_simple import Mamba
        from mamba_ssm.ops.triton.layer_norm import RMSNorm

        self.embedding = torch.nn.Embedding(VOCABULARY, WIDTH)
        torch.nn.init.normal_(self.embedding.weight, std=0.02)
        self.layers = torch.nn.ModuleList(
            Block(WIDTH, partial(Mamba, layer_idx=i), torch.nn.Identity, partial(RMSNorm, eps=1e-5), fused_add_norm=True,
                  residual_in_fp32=True) for i in range(LAYERS))
        self.norm_f = RMSNorm(WIDTH, eps=1e-5)

    def forward(self, ids, targets):
        from mamba_ssm.ops.triton.layer_norm import layer_norm_fn

        hidden, residual = self.embedding(ids), None
        for layer in self.layers:
            hidden, residual = layer(hidden, residual)
        hidden = layer_norm_fn(hidden, self.norm_f.weight, None, residual=residual, eps=1e-5, prenorm=False,
                               residual_in_fp32=True, is_rms_norm=True)
        logits = torch.nn.functional.linear(hidden, self.embedding.weight)
        return torch.nn.functional.cross_entropy(logits.view(-1, VOCABULARY), targets.view(-1))


class Transformers(torch.nn.Module):
    def __init__(self):
        super().__init__()
        from transformers import MambaConfig, MambaForCausalLM

        self.model = MambaForCausalLM(MambaConfig(vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=LAYERS,
                                                  state_size=16, use_mambapy=False))

    def forward(self, ids, targets):
        logits = self.model(ids).logits
        return torch.nn.functional.cross_entropy(logits.view(-1, VOCABULARY), targets.view(-1))


def time_steps(name, batch, length):
    torch.manual_seed(0)
    model = (MambaSsm() if name == "mamba_ssm" else Transformers()).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
    warm, count = (5, 20) if name == "mamba_ssm" else (1, 1)
    # As ours: windows drawn on the CPU, sent to the card each step.
    windows = torch.randint(0, VOCABULARY, (warm + count, batch, length + 1))
    times = []
    for window in windows:
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        window = window.cuda()
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(window[:, :-1], window[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        end.record()
        times.append((begin, end))
    torch.cuda.synchronize()
    seconds = sorted(begin.elapsed_time(end) for begin, end in times[warm:])
    print(f"{name} cuda bf16 B {batch} L {length}: {seconds[len(seconds) // 2]:.2f} ms a step (least {seconds[0]:.2f}), "
          f"peak {torch.cuda.max_memory_allocated() / 1e6:.0f} MB, loss {loss.item():.4f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "build":
        build(*sys.argv[2:4])
    else:
        name, batch, length, folder, built = sys.argv[2:7]
        if name == "mamba_ssm":
            import_mamba(folder, built)
        time_steps(name, int(batch), int(length))
