"""Makes the fixtures in tests/oracles/images with Pillow: run by hand, its output is committed.

    pip install pillow numpy
    python -P tests/oracles/images_pillow.py

Pictures of every kind that decoding tells apart, drawn by formula, and expected.json: the bytes (hex) that
Pillow decodes, and for some what its bicubic resampling of the shorter side and a crop of the middle give.
"""

import json
import pathlib

import numpy
from PIL import Image

FOLDER = pathlib.Path(__file__).parent / "images"
SIZES = [(13, 11), (24, 24), (70, 61)]  # shorter side, crop


def scene(width, height, seed):
    """Smooth gradients, hard edges, fine stripes and noise."""
    generator = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[0:height, 0:width]
    planes = [
        127 + 127 * numpy.sin(x / 5 + seed) * numpy.cos(y / 9),
        numpy.where((x // 3 + y // 4) % 2 == 0, 250, 5),
        (x * 255 / width + generator.integers(0, 60, (height, width))).clip(0, 255),
    ]
    return numpy.stack(planes, 2).astype(numpy.uint8)


def resized(image, side, crop):
    width, height = image.size
    shorter = min(width, height)
    image = image.resize((side * width // shorter, side * height // shorter), Image.Resampling.BICUBIC)
    left, top = round((image.size[0] - crop) / 2), round((image.size[1] - crop) / 2)
    return image.crop((left, top, left + crop, top + crop))


def main():
    FOLDER.mkdir(exist_ok=True)
    colour = Image.fromarray(scene(57, 40, 1))
    tall = Image.fromarray(scene(33, 64, 2))
    alpha = colour.copy()
    alpha.putalpha(Image.fromarray(scene(57, 40, 3)[:, :, 0]))
    wide16 = Image.fromarray((scene(40, 30, 4)[:, :, 0].astype(numpy.uint16) << 8) + 77)
    saves = {
        "colour.png": (colour, {}),
        "tall.png": (tall, {}),
        "alpha.png": (alpha, {}),
        "grey.png": (colour.convert("L"), {}),
        "grey_alpha.png": (alpha.convert("LA"), {}),
        "palette.png": (colour.quantize(17), {}),
        "one_bit.png": (colour.convert("1"), {}),
        "sixteen.png": (wide16, {}),
        "sampled.jpg": (colour, {"quality": 85}),
        "full.jpg": (tall, {"quality": 95, "subsampling": 0}),
        "progressive.jpg": (colour, {"quality": 80, "progressive": True}),
        "grey.jpg": (colour.convert("L"), {"quality": 80}),
        "inks.jpg": (colour.convert("CMYK"), {"quality": 90}),
    }
    expected = {}
    for name, (image, options) in saves.items():
        image.save(FOLDER / name, **options)
        loaded = Image.open(FOLDER / name)
        # Pillow keeps 16 bits of grey and clips them when converting; the high byte is meant.
        if loaded.mode.startswith("I"):
            loaded = Image.fromarray((numpy.asarray(loaded).astype(numpy.uint16) >> 8).astype(numpy.uint8))
        plain = loaded.convert("RGB")
        expected[name] = {"pixels": plain.tobytes().hex(), "width": plain.size[0], "height": plain.size[1]}
        if name in ("colour.png", "tall.png", "sampled.jpg"):
            expected[name]["resized"] = [[s, c, resized(plain, s, c).tobytes().hex()] for s, c in SIZES]
        if name == "alpha.png":
            white = Image.new("RGBA", loaded.size, "white")
            expected[name]["on_white"] = Image.alpha_composite(white, loaded).convert("RGB").tobytes().hex()
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=0) + "\n")


if __name__ == "__main__":
    main()
