#!/usr/bin/env python3
"""Decoding, resizing and cropping of images by Pillow, for imagepeer.

  pillow.py make DIR                       write the images that are measured
  pillow.py serve                          one case per line on stdin: "SIZE FILE"

For a case, serve prints {"ms": …, "crc32": …}: the minimum milliseconds of one image on one
core, over a quarter of a second, and the checksum of its pixels. An image is decoded, its
shorter side resized to SIZE with the antialiased bilinear filter, and the centre cropped,
like torchvision's Resize and CenterCrop. SIZE 0 only decodes. A failure prints {"error": …}.
"""
import io
import json
import os
import random
import sys
import time
import zlib

from PIL import Image, ImageDraw, ImageFilter


def photo(width, height, seed):
    """An image like a photograph: noise of all frequencies, falling with the frequency,
    with shapes and text."""
    rng = random.Random(seed)
    planes = []
    for _ in range(3):
        plane = Image.new("L", (width, height), 128)
        cell, weight = width, 0.55
        while cell >= 1:
            small = (max(2, width // cell + 1), max(2, height // cell + 1))
            octave = Image.frombytes("L", small, rng.randbytes(small[0] * small[1]))
            octave = octave.resize((width, height), Image.Resampling.BICUBIC)
            plane = Image.blend(plane, octave, weight)
            cell, weight = cell // 2, weight * 0.78
        planes.append(plane)
    gray, u, v = planes
    u, v = (Image.blend(p, Image.new("L", p.size, 128), 0.5).filter(ImageFilter.GaussianBlur(2)) for p in (u, v))
    image = Image.merge("YCbCr", (gray, u, v)).convert("RGB")
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, r = rng.randrange(width), rng.randrange(height), rng.randrange(width // 20, width // 6)
        colour = tuple(rng.randrange(256) for _ in range(3))
        draw.ellipse((x - r, y - r // 2, x + r, y + r // 2), outline=colour, width=1 + r // 12)
        draw.text((x, y), f"{x} by {y} makes {x * y}", fill=colour)
    return image


def make(folder):
    os.makedirs(folder, exist_ok=True)
    for width, height in (640, 480), (2000, 1500):
        image = photo(width, height, width)
        name = os.path.join(folder, f"{width}x{height}")
        image.save(name + ".jpg", quality=90)
        image.save(name + "-444.jpg", quality=90, subsampling=0)
        image.save(name + "-progressive.jpg", quality=90, progressive=True)
        image.save(name + ".png")
        image.save(name + ".webp", quality=85)


def prepare(data, size):
    image = Image.open(io.BytesIO(data))
    image = image.convert("RGB")
    if size == 0:
        return image
    w, h = image.size
    new = (size, size * h // w) if w <= h else (size * w // h, size)
    image = image.resize(new, Image.Resampling.BILINEAR)
    left, top = round((new[0] - size) / 2), round((new[1] - size) / 2)
    return image.crop((left, top, left + size, top + size))


def fastest(data, size):
    times = []
    begin = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - begin < 0.25:
        start = time.perf_counter()
        image = prepare(data, size)
        times.append(time.perf_counter() - start)
    return {"ms": min(times) * 1e3, "crc32": zlib.crc32(image.tobytes())}


def serve():
    for line in sys.stdin:
        try:
            size, name = line.rstrip("\n").split(" ", 1)
            with open(name, "rb") as file:
                answer = fastest(file.read(), int(size))
        except Exception as e:  # of any kind: imagepeer prints it beside the case
            answer = {"error": str(e)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["make"] and len(sys.argv) == 3:
        make(sys.argv[2])
    elif sys.argv[1:] == ["serve"]:
        serve()
    else:
        sys.exit(__doc__)
