"""Writes sdk/base/src/unicode_ranges.h, what the reference tokenizers take for letters, numbers, white space and marks, and
plugins/clip/later_lower.h, what their lower case does beyond utf8proc's. Run by hand with `pip install tokenizers==0.23.3`; its output is committed.

    python -P tests/oracles/unicode.py

Unicode grows by version, and libraries carry different ones: asked of the reference itself, one code point at a time.
"""

import pathlib

from tokenizers import Regex, normalizers, pre_tokenizers

ROOT = pathlib.Path(__file__).parents[2]
RANGES = ROOT / "sdk" / "base" / "src" / "unicode_ranges.h"
LOWER = ROOT / "plugins" / "clip" / "later_lower.h"
KINDS = {"kLetters": r"\p{L}", "kNumbers": r"\p{N}", "kSpaces": r"\s"}
# utf8proc 2.8 knows Unicode 15 and maps a code point to one: what came later, and what becomes two.
FIRST_LATER = {0x130, 0x1C89, 0xA7CB, 0xA7CC, 0xA7CE, 0xA7D2, 0xA7D4, 0xA7DA, 0xA7DC}
LATER_BLOCKS = (range(0x10D50, 0x10D66), range(0x16EA0, 0x16EB9))


def code_points():
    return (c for c in range(0x110000) if not 0xD800 <= c < 0xE000)


def of_kind(pattern):
    split = pre_tokenizers.Split(Regex(pattern), behavior="removed")
    return (code for code in code_points() if not split.pre_tokenize_str(chr(code)))


def marks():
    """What normalization moves in front of U+0345, whose combining class is the highest, and that itself."""
    compose = normalizers.NFC()
    last = "\u0345"
    return (c for c in code_points() if chr(c) == last or not compose.normalize_str(last + chr(c)).startswith(last))


def ranges(codes):
    found = []
    for code in codes:
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return found


def wrapped(items):
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > 118:
            lines.append(line)
            line = "   "
        line += " " + item + ","
    return "\n".join(lines + [line])


def write(path, text):
    path.write_text("\n".join(text + [""]))


def opening(what, namespace, includes):
    return [f"// Written by tests/oracles/unicode.py: {what}.", "#pragma once", ""] + includes + [f"namespace {namespace} {{", ""]


def main():
    text = opening("what the reference tokenizers take characters for", "colonnade", ["#include <cstdint>", ""])
    text += ["struct CodeRange {", "  char32_t first, last;", "};", "", "// clang-format off"]
    kinds = {name: of_kind(pattern) for name, pattern in KINDS.items()} | {"kMarks": marks()}
    for name, codes in kinds.items():
        items = [f"{{0x{a:X}, 0x{b:X}}}" for a, b in ranges(codes)]
        text += [f"inline constexpr CodeRange {name}[] = {{", wrapped(items), "};", ""]
    write(RANGES, text[:-1] + ["// clang-format on", "", "}  // namespace colonnade"])

    lower = normalizers.Lowercase()
    items = []
    for code in sorted(FIRST_LATER.union(*LATER_BLOCKS)):
        mapped = [ord(c) for c in lower.normalize_str(chr(code))] + [0]
        items.append(f"{{0x{code:X}, 0x{mapped[0]:X}, 0x{mapped[1]:X}}}")
    text = opening("what the reference's lower case does beyond utf8proc's", "colonnade::clip", []) + ["// clang-format off"]
    text += ["struct LaterLower {", "  char32_t upper, lower, second;  // 0: no second", "};", ""]
    text += ["inline constexpr LaterLower kLaterLower[] = {", wrapped(items), "};", "// clang-format on", ""]
    write(LOWER, text + ["}  // namespace colonnade::clip"])


if __name__ == "__main__":
    main()
