"""Times decoding with a Mamba of the 130M shape against llama.cpp, in one run on the same cores with the same fp32 weights.

    CMAKE_ARGS="-DLLAVA_BUILD=OFF" pip install --no-binary llama-cpp-python llama-cpp-python
    pip install gguf safetensors numpy
    python -P tests/oracles/decode_speed.py BUILD/bench/mamba_model [--threads 2] [--layers 24] [--tokens 64] [--rounds 3]

Writes one model of random weights in the published layout and as GGUF, reads a prompt with both, compares the logits
behind it, then times tokens one at a time. Sides alternate; a round's time is its median token's, and the best round of
each side counts. llama.cpp is built for this processor; our products and steps of one token take AVX2 at most.
"""

import argparse
import ctypes
import json
import math
import pathlib
import re
import statistics
import subprocess
import tempfile
import time

import gguf
import llama_cpp
import numpy
from safetensors.numpy import save_file

D_MODEL, STATES, WIDTH, VOCABULARY = 768, 16, 4, 50280
INNER, RANK = 2 * D_MODEL, D_MODEL // 16
EPSILON = 1e-5
PROMPT = 32


def make_weights(layers):
    random = numpy.random.default_rng(0)

    def normal(shape, deviation, mean=0.0):
        return (mean + deviation * random.standard_normal(shape, dtype=numpy.float32)).astype(numpy.float32)

    weights = {"backbone.embeddings.weight": normal((VOCABULARY, D_MODEL), 0.02),
               "backbone.norm_f.weight": normal(D_MODEL, 0.1, 1.0)}
    for layer in range(layers):
        mixer = f"backbone.layers.{layer}.mixer."
        weights |= {
            f"backbone.layers.{layer}.norm.weight": normal(D_MODEL, 0.1, 1.0),
            mixer + "in_proj.weight": normal((2 * INNER, D_MODEL), D_MODEL**-0.5),
            mixer + "conv1d.weight": normal((INNER, 1, WIDTH), 0.5),
            mixer + "conv1d.bias": normal(INNER, 0.1),
            mixer + "x_proj.weight": normal((RANK + 2 * STATES, INNER), INNER**-0.5),
            mixer + "dt_proj.weight": normal((INNER, RANK), RANK**-0.5),
            mixer + "dt_proj.bias": normal(INNER, 0.5, -3.0),
            mixer + "A_log": numpy.log(numpy.arange(1, STATES + 1, dtype=numpy.float32)) + normal((INNER, STATES), 0.1),
            mixer + "D": normal(INNER, 0.1, 1.0),
            mixer + "out_proj.weight": normal((D_MODEL, INNER), INNER**-0.5),
        }
    return weights


def write_gguf(path, weights, layers):
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_context_length(1 << 20)
    writer.add_embedding_length(D_MODEL)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(layers)
    writer.add_ssm_conv_kernel(WIDTH)
    writer.add_ssm_inner_size(INNER)
    writer.add_ssm_state_size(STATES)
    writer.add_ssm_time_step_rank(RANK)
    writer.add_ssm_dt_b_c_rms(False)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_vocab_size(VOCABULARY)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("no_vocab")
    plain = {"backbone.embeddings.weight": "token_embd.weight", "backbone.norm_f.weight": "output_norm.weight"}
    inside = {"norm.weight": "attn_norm.weight", "in_proj": "ssm_in", "conv1d": "ssm_conv1d", "x_proj": "ssm_x",
              "dt_proj": "ssm_dt", "out_proj": "ssm_out", "A_log": "ssm_a", "D": "ssm_d"}
    for name, tensor in weights.items():
        if name not in plain:
            layer, rest = re.match(r"backbone\.layers\.(\d+)\.(?:mixer\.)?(.*)", name).groups()
            if rest == "A_log":
                tensor = -numpy.exp(tensor)
            if rest == "conv1d.weight":
                tensor = tensor.squeeze(1)
            for ours, theirs in inside.items():
                rest = re.sub(rf"^{re.escape(ours)}(?=$|\.)", theirs, rest)
            plain_name = f"blk.{layer}.{rest}"
        writer.add_tensor(plain.get(name) or plain_name, numpy.ascontiguousarray(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Peer:
    def __init__(self, path, threads):
        llama_cpp.llama_backend_init()
        self.log = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.log, ctypes.c_void_p(0))
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        assert self.model, "llama.cpp cannot read what was written"
        context = llama_cpp.llama_context_default_params()
        context.n_ctx = 4096
        context.n_threads = context.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, context)

    def read(self, ids):
        array = (llama_cpp.llama_token * len(ids))(*map(int, ids))
        assert llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(array, len(ids))) == 0
        logits = llama_cpp.llama_get_logits_ith(self.context, -1)
        return numpy.ctypeslib.as_array(logits, shape=(VOCABULARY,)).copy()

    def seconds_a_token(self, tokens):
        token, times = [1], []
        for _ in range(tokens):
            start = time.perf_counter()
            token = [int(self.read(token).argmax())]
            times.append(time.perf_counter() - start)
        return statistics.median(times)


def ours(options, folder, dtype):
    out = subprocess.run([options.bench, folder, str(options.threads), "decode", dtype, str(options.tokens)], capture_output=True, text=True,
                         check=True, env={}).stdout
    return (float(re.search(r"error (\S+)", out)[1]), float(re.search(r"decode (\S+) s", out)[1]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        weights = make_weights(options.layers)
        write_gguf(folder / "model.gguf", weights, options.layers)
        save_file(weights, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({"model_type": "mamba", "layer_norm_epsilon": EPSILON}))
        ids = numpy.random.default_rng(1).integers(0, VOCABULARY, PROMPT)
        peer = Peer(folder / "model.gguf", options.threads)
        save_file({"ids": ids[None], "last_logits": peer.read(ids)[None]}, folder / "inputs.safetensors")
        bytes_read = 4 * (sum(tensor.size for tensor in weights.values()))
        best = {}
        for _ in range(options.rounds):
            best["llama.cpp, f32"] = min(best.get("llama.cpp, f32", math.inf), peer.seconds_a_token(options.tokens))
            for dtype in ("f32", "bf16", "f16"):
                error, seconds = ours(options, folder, dtype)
                label = f"ours, {dtype}"
                best[label] = min(best.get(label, math.inf), seconds)
                if dtype == "f32":
                    print(f"{label}: {1e3 * seconds:.2f} ms, logits within {error:.1e} of llama.cpp's", flush=True)
    print(f"{'':<24} ms a token  tokens/s  ratio  GB/s of weights read")
    for label, seconds in best.items():
        half = 1 if "f32" in label else 0.5
        print(f"{label:<24} {1e3 * seconds:10.2f} {1 / seconds:9.1f} {best['llama.cpp, f32'] / seconds:6.2f} "
              f"{half * bytes_read / seconds / 1e9:8.1f}")


if __name__ == "__main__":
    main()
