"""Makes the fixtures in tests/oracles/byte_pairs with Hugging Face's `tokenizers`: run by hand, its output is committed.

    pip install tokenizers==0.23.3
    python -P tests/oracles/byte_pairs.py [GPT-NEOX'S tokenizer.json]

tokenizer.json   a byte-level vocabulary of GPT-NeoX's kind, learnt from the lines below, with runs of blanks as added tokens
lines.json       texts, hostile ones among them, each with the ids and the decoded text that the reference gives
neox.json        the ids of the same texts under the published vocabulary, which is not kept here
"""

import json
import pathlib
import random
import sys

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

FOLDER = pathlib.Path(__file__).parent / "byte_pairs"
SIZE = 420

PLAIN = """In the beginning there was a loop, and the loop was slow; then somebody wrote   def scan(x):\n    return x
it's what they've said: we'll see, I'd go, I'm here, you're there, don't
1234567890 20,000.5 3rd floor, 12:30 o'clock; Côte d’Ivoire, Türkiye, São Tomé & Príncipe
for (int i = 0; i < n; ++i) {\n\t\tsum += values[i];\n}
"""


def hostile(generator):
    lines = [
        "", " ", "  ", "   ", "\n", "\n\n", " \n ", "\n\t\r ", "a", " a", "  a", "   a", "a ", "a  ", "a \n b", "a\n\n\nb", "\u3000\u3000x", " \u00a0 x",
        "don't DON'T Don'T", "we'll they're I've i'm he'd it's", "''''s'''t", "!'s 's!'s 'll", "'sam 'tis 'reality",
        "  leading and   many    blanks  ", "nbsp\u00a0thin\u2009ideographic\u3000line\u2028para\u2029nel\u0085zero\u200bwidth\ufeffbom",
        "<|endoftext|>", "<|padding|>", "a<|endoftext|>b<|padding|>c", "<|ENDOFTEXT|>!!", "<|endoftext", "<|endoftext|><|endoftext|>",
        " <|endoftext|> ", "    <|endoftext|>    x", " " * 23 + "y", " " * 24 + "y", " " * 25 + "y", " " * 60, "x" + " " * 49 + "y",
        "Å Å Å é é ñ ñ \u212b \u2126", "한글 한글 각 ᄀ", "ａｂｃ１２３ Ⅳ ½ ² ③ ௧ ๓ 一二三", "日本語のテキスト、中文文本。한국어",
        "العربية ١٢٣ עברית हिन्दी ไทย ગુજરાતી", "👍🏽 👩‍👩‍👧‍👦 🇩🇪 ❤️ ☹ 5️⃣", "\u0301abc a\u0301\u0327 a\u0327\u0301 q\u0307\u0323 \u0301 x",
        "\x00\x01\x1f\x7f\x80\x9f", "\ufffd\uffff\ufdd0\U0010ffff\U0001fffe", "a" * 300, "ab" * 200, "!" * 200, "1" * 50, " 1" * 20,
        "\u1e9b\u0323 \u0340 \u0344 \u0958 \U0001d15e \u2adc", "snake_case-kebab CamelCase/path\\back", "e=mc^2; f(x)=x**2 # comment",
        "don’t ‘quoted’ “double” … – —", "a\u200db a\u00adb", "\t\tdef f():\r\n\t\treturn  1\r\n", "x\n \n  \n   y", "\u0085\u0085a \u2028 b",
    ]
    planes = [(0, 0x250), (0x250, 0x2000), (0x2000, 0x3000), (0x3000, 0xD800), (0xE000, 0x10000), (0x10000, 0x20000),
              (0x1F300, 0x1FAFF), (0x20000, 0x110000)]
    for _ in range(150):
        low, high = generator.choice(planes)
        line = ""
        for _ in range(generator.randrange(1, 30)):
            kind = generator.random()
            if kind < 0.4:
                line += chr(generator.randrange(low, high))
            elif kind < 0.5:
                line += chr(generator.randrange(0x300, 0x370))
            else:
                line += generator.choice("abcXYZ 019'!,. \t\n   ")
        lines.append(line)
    # What Unicode came to know after the version that the reference's composition has.
    marks = "\u07fd\u0898\u0c3c\u0eba\u1715\u1abf\u1ac9\u1df6\u1dfa\ua82c\U00010d24\U00010efd\U00010f49\U00011070\U00011f42\U0001e08f\U0001e4ec"
    lines += ["e\u0345" + mark + "\u0301 e" + mark + "\u0301\u0323" for mark in marks]
    lines.append("\U00011935\U00011930 \U00011938 \U00011935\U00011930\U0001193e\u0345\U00011930")
    return lines


def learn():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", normalized=False), AddedToken("<|padding|>", normalized=False)])
    trainer = trainers.BpeTrainer(vocab_size=SIZE, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
                                  special_tokens=["<|endoftext|>", "<|padding|>"])
    tokenizer.train_from_iterator(PLAIN.splitlines() * 4, trainer)
    tokenizer.add_tokens([AddedToken(" " * n, normalized=True) for n in range(24, 1, -1)])
    return tokenizer


def encoded(tokenizer, lines):
    for line in lines:
        ids = tokenizer.encode(line).ids
        yield {"text": line, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)}


def main():
    FOLDER.mkdir(exist_ok=True)
    lines = PLAIN.splitlines() + hostile(random.Random(7))
    tokenizer = learn()
    tokenizer.save(str(FOLDER / "tokenizer.json"))
    write = lambda name, document: (FOLDER / name).write_text(json.dumps(document, ensure_ascii=True) + "\n")
    write("lines.json", list(encoded(tokenizer, lines)))
    if len(sys.argv) > 1:
        write("neox.json", [line["ids"] for line in encoded(Tokenizer.from_file(sys.argv[1]), lines)])


if __name__ == "__main__":
    main()
