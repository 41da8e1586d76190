"""What mergekit (pip install mergekit) and MergeLM's published formula make of differences under DARE's masks.

    python tests/oracles/dare_rescale.py > tests/oracles/dare_rescale.json

The masks are drawn here from the definition of the random words in sdk/base/README.md, so that they are an oracle as well. MergeLM:
delta * (1 - m) / (1 - p) for m ~ Bernoulli(p), in fp32. mergekit: `rescaled_masked_tensor` with the L1 norm.
"""

import json

import numpy
import torch
from mergekit.sparsify import RescaleNorm, rescaled_masked_tensor

SITES = {"backbone.layers.0.mixer.dt_proj": [96, 3], "backbone.layers.1.mixer.conv1d": [96, 1, 4]}
RATES = [0.5, 0.9, 0.95]
SEED = 11
SCALE = 2.0**-14  # differences are whole multiples of it, so that they are written exactly
NUMBER, LENGTH, NAME, WORDS = 1, 2, 3, 4
MASK = 2**32 - 1


def philox(counter, key):
    c, (k0, k1) = list(counter), key
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k0, b & MASK, (a >> 32) ^ c[3] ^ k1, a & MASK]
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c


def block(key, word, use):
    return philox([word & MASK, word >> 32, use, 0], [key & MASK, key >> 32])


def first(key, word, use):
    words = block(key, word, use)
    return words[0] | words[1] << 32


def at_name(key, name):
    data = name.encode()
    key = first(key, len(data), LENGTH)
    for i in range(0, len(data), 8):
        key = first(key, int.from_bytes(data[i : i + 8].ljust(8, b"\0"), "little"), NAME)
    return key


def words_of(site, count):
    key = at_name(first(at_name(SEED, "dare/dare"), 0, NUMBER), site)
    return [word for i in range((count + 3) // 4) for word in block(key, i, WORDS)][:count]


def survivors(values):
    return [float(f"{value:.9g}") for value in values if value != 0]


def main():
    numbers = numpy.random.default_rng(0)
    cases = []
    for site, shape in SITES.items():
        count = int(numpy.prod(shape))
        whole = numbers.integers(1, 4096, count) * numbers.choice([-1, 1], count)
        delta = (whole * SCALE).astype(numpy.float32)
        words = numpy.array(words_of(site, count), dtype=numpy.uint64)
        for rate in RATES:
            keep = words >= numpy.uint64(numpy.ceil(numpy.ldexp(rate, 32)))
            l1 = rescaled_masked_tensor(torch.from_numpy(delta), torch.from_numpy(keep.astype(numpy.float32)), RescaleNorm.l1)
            mergelm = delta * keep / numpy.float32(1 - rate)
            cases.append({
                "site": site, "rate": rate, "delta": whole.tolist(), "keep": "".join("01"[bit] for bit in keep.astype(int)),
                "l1": survivors(l1.numpy()), "inverse_keep": survivors(mergelm),
            })
    print(json.dumps({"seed": SEED, "scale": SCALE, "cases": cases}, separators=(",", ":")))


if __name__ == "__main__":
    main()
