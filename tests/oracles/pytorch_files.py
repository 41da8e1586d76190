"""Makes the fixtures in tests/oracles/pytorch_files with PyTorch: run by hand, its output is committed.

    pip install torch==2.11.0 safetensors numpy
    python -P tests/oracles/pytorch_files.py

weights.bin          a state dictionary: parameters, views of one storage, every type, an empty tensor, metadata
weights.safetensors  the same tensors
sharded/             the same in two files with an index
hostile_*.bin        archives whose pickles ask for more than tensors
legacy.bin           as PyTorch wrote before 1.6
"""

import collections
import json
import pathlib
import pickle
import zipfile

import safetensors.torch
import torch

FOLDER = pathlib.Path(__file__).parent / "pytorch_files"


def state():
    generator = torch.Generator().manual_seed(3)
    normal = lambda *shape: torch.randn(*shape, generator=generator)
    table = normal(6, 4)
    out = collections.OrderedDict()
    out["layer.weight"] = torch.nn.Parameter(normal(3, 5))
    out["table"] = table
    out["table.rows"] = table[2:5]  # shares the storage
    out["table.transposed"] = table.t()
    for name, kind in {"half": torch.half, "bfloat": torch.bfloat16, "double": torch.double}.items():
        out["kinds." + name] = normal(4).to(kind)
    out["kinds.long"] = torch.arange(5)
    out["kinds.bool"] = torch.tensor([True, False, True])
    out["scalar"] = torch.tensor(2.5)
    out["empty"] = torch.zeros(0, 3)
    return out


class Call:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def rewrite(name, change):
    """weights.bin with another data.pkl."""
    with zipfile.ZipFile(FOLDER / "weights.bin") as source, zipfile.ZipFile(FOLDER / name, "w") as out:
        for item in source.infolist():
            data = source.read(item)
            out.writestr(item.filename, change(data) if item.filename.endswith("data.pkl") else data)


def main():
    FOLDER.mkdir(exist_ok=True)
    weights = state()
    module_like = collections.OrderedDict(weights)
    module_like._metadata = {"": {"version": 1}}
    torch.save(module_like, FOLDER / "weights.bin")
    plain = {name: tensor.detach().contiguous().clone() for name, tensor in weights.items()}
    safetensors.torch.save_file(plain, FOLDER / "weights.safetensors")

    (FOLDER / "sharded").mkdir(exist_ok=True)
    names = sorted(plain)
    shards = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for file, members in shards.items():
        torch.save({name: plain[name] for name in members}, FOLDER / "sharded" / file)
    places = {name: file for file, members in shards.items() for name in members}
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (FOLDER / "sharded" / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=1) + "\n")

    import os
    rewrite("hostile_system.bin", lambda _: pickle.dumps({"a": Call(os.system, "echo executed > executed")}, protocol=2))
    rewrite("hostile_eval.bin", lambda _: pickle.dumps({"a": Call(eval, "1")}, protocol=4))
    rewrite("hostile_deep.bin", lambda _: b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".")
    rewrite("hostile_cycle.bin", lambda _: b"\x80\x02]q\x00h\x00a.")
    rewrite("hostile_list.bin", lambda _: pickle.dumps([1, 2], protocol=2))
    torch.save({"a": torch.zeros(2)}, FOLDER / "legacy.bin", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
