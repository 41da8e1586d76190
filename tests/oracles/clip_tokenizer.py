"""Makes the fixtures in tests/oracles/clip_tokenizer with `transformers`' CLIPTokenizer: run by hand, its output is committed.

    pip install transformers tokenizers==0.23.3
    python -P tests/oracles/clip_tokenizer.py

tokenizer.json   a byte-level vocabulary of CLIP's kind, learnt by `tokenizers` from the lines below
lines.json       texts, hostile ones among them, each with the ids that the reference gives it
"""

import json
import pathlib
import random

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

FOLDER = pathlib.Path(__file__).parent / "clip_tokenizer"
SIZE = 700

PLAIN = """a photo of a red apple on the table
two dogs running through the snow, one's carrying a stick
face with tears of joy; grinning face with smiling eyes
it's what they've said: we'll see, I'd go, I'm here, you're there, don't
woman and man holding hands: medium skin tone, dark skin tone
flag: Côte d’Ivoire; flag: Türkiye; flag: São Tomé & Príncipe; flag: Åland Islands
1234567890 20,000.5 3rd floor, 12:30 o'clock
"""


def hostile(generator):
    lines = [
        "", " ", "\n\t\r ", "a", "A", "don't DON'T Don'T", "we'LL they'RE I'VE i'M he'D it'S can'T", "''''s'''t", "!'s 's!'s",
        "  leading and   many    blanks  ", "nbsp\u00a0thin\u2009ideographic\u3000line\u2028para\u2029nel\u0085zero\u200bwidth\ufeffbom",
        "<|startoftext|>", "<|endoftext|>", "a<|endoftext|>b<|startoftext|>c", "<|ENDOFTEXT|>!!", "!<|StartOfText|>?", "<|endoftext",
        "<|endoftext|><|endoftext|>", "<||endoftext|>|>", "İstanbul İİ ıI ß ẞ ﬁ ΑΣ ὈΔΥΣΣΕΎΣ ΣΣ", "Å Å Å é é ñ ñ \u212b \u2126", "한글 한글 각 ᄀ",
        "ａｂｃ１２３ Ⅳ ½ ² ③ ௧ ๓ 一二三", "日本語のテキスト、中文文本。한국어", "العربية ١٢٣ עברית हिन्दी ไทย ગુજરાતી", "👍🏽 👩‍👩‍👧‍👦 🇩🇪 ❤️ ☹ 5️⃣",
        "\u0301abc a\u0301\u0327 a\u0327\u0301 q\u0307\u0323", "\x00\x01\x1f\x7f\x80\x9f", "\ufffd\uffff\ufdd0\U0010ffff\U0001fffe",
        "a" * 300, "ab" * 200, "!" * 200, "1" * 50, "xX" * 100 + "é" * 50, "\u1e9b\u0323 \u0340 \u0344 \u0958 \U0001d15e \u2adc",
        "\ua7cb\ua7dc \U00010d50\U00010d65 \U00016ea0 \u1c89", "\U000105c0\U000105d1 \U0001e4d0 \U00031350 \u0cf3 \u0897",
        "snake_case-kebab CamelCase/path\\back", "e=mc^2; f(x)=x**2 # comment", "don’t ‘quoted’ “double” … – —", "a\u200db a\u00adb",
    ]
    planes = [(0, 0x250), (0x250, 0x2000), (0x2000, 0x3000), (0x3000, 0xD800), (0xE000, 0x10000), (0x10000, 0x20000),
              (0x1F300, 0x1FAFF), (0x20000, 0x110000)]
    for _ in range(120):
        low, high = generator.choice(planes)
        line = ""
        for _ in range(generator.randrange(1, 30)):
            kind = generator.random()
            if kind < 0.5:
                line += chr(generator.randrange(low, high))
            elif kind < 0.6:
                line += chr(generator.randrange(0x300, 0x370))
            else:
                line += generator.choice("abcXYZ 019'!,. \t")
        lines.append(line)
    return lines


def learn():
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix="", unk_token="<|endoftext|>"))
    reference = CLIPTokenizer()
    tokenizer.normalizer = reference.backend_tokenizer.normalizer
    tokenizer.pre_tokenizer = reference.backend_tokenizer.pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=SIZE, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False,
                                  special_tokens=["<|startoftext|>", "<|endoftext|>"])
    tokenizer.train_from_iterator(PLAIN.splitlines() * 3, trainer)
    return json.loads(tokenizer.to_str())


def main():
    FOLDER.mkdir(exist_ok=True)
    learnt = learn()
    model = learnt["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    reference = CLIPTokenizer(vocab=model["vocab"], merges=merges)
    (FOLDER / "tokenizer.json").write_text(reference.backend_tokenizer.to_str(pretty=False), encoding="utf-8")
    lines = PLAIN.splitlines() + hostile(random.Random(7))
    cases = [{"text": line, "ids": reference(line)["input_ids"]} for line in lines]
    (FOLDER / "lines.json").write_text(json.dumps(cases, ensure_ascii=True, separators=(",", ":")), encoding="utf-8")
    print(len(model["vocab"]), "tokens,", len(merges), "merges,", len(cases), "lines")


if __name__ == "__main__":
    main()
