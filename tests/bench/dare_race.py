"""Drops 90 % of the difference of two models of 1 GB with mergekit's command and with colonnade's, one after the other.

    PYTHON tests/bench/dare_race.py build/bin/colonnade FOLDER [--dtype f32|bf16] [--repeat N]

PYTHON needs mergekit (pip install mergekit); nothing is installed here. The models are made in FOLDER where they are missing (needs 8
GB there). Prints for each the seconds of the whole command, and the peak of anonymous memory (beyond the page cache) of all its
processes; for colonnade also the seconds from the start of the op to the exported file. Inputs are in the page cache and their
hashes known, as `plan` leaves them; mergekit hashes nothing.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

LAYERS = {"f32": 16, "bf16": 38}
STUDY = """
local col = require "colonnade"
local thin = col.dare_files {
  base = col.setting "race.base_folder", tuned = col.setting "race.tuned_folder", rescale = col.setting "race.rescale",
  drop_rate = 0.9, seed = 0, label = "thin",
}
return col.study {
  name = "race", seeds = { 0 },
  arms = { { name = "thin", model = thin } },
  metrics = function() return { sparsity = thin.sparsity } end,
}
"""


def make_models(folder, dtype):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    if (folder / "tuned").exists():
        return
    config = LlamaConfig(
        vocab_size=32000, hidden_size=1024, intermediate_size=2816, num_hidden_layers=LAYERS[dtype], num_attention_heads=16,
        num_key_value_heads=16, max_position_embeddings=2048, tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).to({"f32": torch.float32, "bf16": torch.bfloat16}[dtype])
    model.save_pretrained(folder / "base", max_shard_size="5GB")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.003)
    model.save_pretrained(folder / "making", max_shard_size="5GB")
    (folder / "making").rename(folder / "tuned")


class Watch(threading.Thread):
    """The peak of anonymous memory of a process and all below it, and when a file first stood in a folder."""

    def __init__(self, root, folder=None):
        super().__init__(daemon=True)
        self.root, self.folder, self.peak, self.first_file, self.ended = root, folder, 0, None, False

    def run(self):
        while not self.ended:
            self.peak = max(self.peak, sum(map(anonymous_bytes, self.tree())))
            if self.folder and self.first_file is None and self.folder.exists() and any(self.folder.iterdir()):
                self.first_file = time.perf_counter()
            time.sleep(0.004)

    def tree(self):
        pids, found = [self.root], []
        while pids:
            pid = pids.pop()
            found.append(pid)
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    pids += map(int, pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text().split())
            except OSError:
                pass
        return found


def anonymous_bytes(pid):
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("RssAnon", "RssShmem")))


def timed(commands, cwd, folder=None):
    os.sync()  # nobody waits for what others wrote
    start, peak, first = time.perf_counter(), 0, None
    for command in commands:
        with open(cwd / "log.txt", "a") as log:
            process = subprocess.Popen([str(word) for word in command], cwd=cwd, stdout=log, stderr=log)
            watch = Watch(process.pid, folder)
            watch.start()
            code = process.wait()
        watch.ended = True
        watch.join()
        if code != 0:
            sys.exit(f"{command[0]} ended with {code}: see {cwd / 'log.txt'}")
        peak, first = max(peak, watch.peak), first or watch.first_file
    end = time.perf_counter()
    return end - start, end - first if first else None, peak


def run_mergekit(folder, dtype):
    out = folder / "mergekit"
    shutil.rmtree(out, ignore_errors=True)
    recipe = {
        "merge_method": "dare_linear",
        "base_model": str(folder / "base"),
        "models": [{"model": str(folder / "tuned"), "parameters": {"weight": 1.0, "density": 0.1}}],
        "parameters": {"normalize": False},
        "dtype": {"f32": "float32", "bf16": "bfloat16"}[dtype],
    }
    (folder / "recipe.yml").write_text(json.dumps(recipe))
    command = pathlib.Path(sys.executable).parent / "mergekit-yaml"
    return timed([[command, folder / "recipe.yml", out, "--no-copy-tokenizer"]], folder)


def run_colonnade(folder, colonnade, rescale):
    project = folder / "project"
    shutil.rmtree(project, ignore_errors=True)
    (project / "study").mkdir(parents=True)
    (project / ".colonnade").mkdir()
    (project / "study/study.lua").write_text(STUDY)
    settings = f'threads = 1\nworkers = 1\n[race]\nbase_folder = "{folder}/base"\ntuned_folder = "{folder}/tuned"\nrescale = "{rescale}"\n'
    (project / "study/study.toml").write_text(settings)
    timed([[colonnade, "plan", "study"]], project)
    commands = [[colonnade, "run", "study"], [colonnade, "export", "last", "thin", "--to", project / "out"]]
    return timed(commands, project, project / ".colonnade/store/tmp")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("colonnade", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--dtype", choices=LAYERS, default="f32")
    parser.add_argument("--repeat", type=int, default=1)
    given = parser.parse_args()
    folder, colonnade = (given.folder / given.dtype).resolve(), given.colonnade.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    make_models(folder, given.dtype)
    size = sum(file.stat().st_size for file in (folder / "tuned").glob("*.safetensors"))
    print(f"{given.dtype}, {size / 1e9:.2f} GB a model, load {os.getloadavg()[0]:.1f} before the start")
    for file in [*folder.glob("base/*"), *folder.glob("tuned/*")]:
        file.read_bytes()  # into the page cache
    for _ in range(given.repeat):
        theirs, _, their_peak = run_mergekit(folder, given.dtype)
        print(f"mergekit dare_linear           {theirs:6.2f} s, {their_peak / 1e9:.2f} GB at its peak, {their_peak / size:.2f} of the result")
        for rescale in ("inverse_keep", "l1"):
            whole, from_op, peak = run_colonnade(folder, colonnade, rescale)
            print(
                f"colonnade dare_files {rescale:12} {whole:5.2f} s with run and export, {from_op:5.2f} s from the op's start, "
                f"{peak / 1e9:.2f} GB, {peak / size:.2f} of the result; {theirs / whole:.1f} and {theirs / from_op:.1f} times as fast"
            )
        print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
