"""Witten-Bell n-gram perplexities of the default text, counted in plain Python, for tests/plugins/ngram.

    python3 tests/oracles/ngram_kjv.py .deps/text/kjv > tests/oracles/ngram_kjv.json

Every text is cut 90/5/5 by bytes. The model is fitted to the first part of one testament and scored on the other parts of
both; every byte but the first is scored, given at most order - 1 bytes before it.
"""

import json
import math
import pathlib
import sys
from collections import Counter

VOCABULARY = 256
ORDERS = (1, 2, 3)


def cut(text):
    first, second = int(len(text) * 0.90), int(len(text) * 0.95)
    return {"train": text[:first], "valid": text[first:second], "test": text[second:]}


class Model:
    def __init__(self, text, order):
        self.order = order
        self.grams = [Counter(text[i : i + k + 1] for i in range(len(text) - k)) for k in range(order)]
        self.totals = [Counter() for _ in range(order)]
        self.kinds = [Counter() for _ in range(order)]
        for k, grams in enumerate(self.grams):
            for gram, times in grams.items():
                self.totals[k][gram[:-1]] += times
                self.kinds[k][gram[:-1]] += 1

    def probability(self, context, token):
        shorter = self.probability(context[1:], token) if context else 1 / VOCABULARY
        length = len(context)
        total, kinds = self.totals[length][context], self.kinds[length][context]
        if total == 0:
            return shorter
        return (self.grams[length][context + token] + kinds * shorter) / (total + kinds)

    def perplexity(self, text):
        nats = 0.0
        for i in range(1, len(text)):
            nats -= math.log(self.probability(text[max(0, i - self.order + 1) : i], text[i : i + 1]))
        return math.exp(nats / (len(text) - 1))


def main():
    texts = {file.name: file.read_bytes() for file in sorted(pathlib.Path(sys.argv[1]).glob("*.txt"))}
    rows = []
    for fitted, text in texts.items():
        for order in ORDERS:
            model = Model(cut(text)["train"], order)
            for scored, other in texts.items():
                for split in ("valid", "test"):
                    perplexity = model.perplexity(cut(other)[split])
                    rows.append({"data": fitted, "on": scored, "split": split, "order": order, "perplexity": perplexity})
    json.dump({"bytes": {name: len(text) for name, text in texts.items()}, "rows": rows}, sys.stdout, indent=1)
    print()


main()
