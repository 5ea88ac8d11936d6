"""Makes pictures.json.gz: tiny pictures of every form that is read, each with the
RGB that Pillow makes of it by this package's steps. It needs Pillow with libtiff,
WebP and AVIF, and NumPy:

    python make.py

Bytes that Pillow does not write come from the small writers beside this file.
"""

import base64
import gzip
import io
import json
import sys
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

import bmps
import gifs
import jpegs
import others
import pngs
import tiffs

warnings.simplefilter("ignore")


def seen(data: bytes) -> np.ndarray:
    """Upright, of 16 bits the high byte, over white, RGB: [h, w, 3]."""
    image = Image.open(io.BytesIO(data))
    image.load()
    image = ImageOps.exif_transpose(image)
    transparent = image.info.get("transparency")
    if image.mode.startswith("I;16") or image.mode == "I" and image.format_was != "TIFF32":
        values = np.asarray(image).astype(np.int64)
        gray = np.clip(values, 0, 65535) >> (4 if image.format_was == "12 bits" else 8)
        if transparent is not None:
            gray[values == transparent] = 255
        return np.dstack([gray.astype(np.uint8)] * 3)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (255,) * 4), rgba)
    return np.asarray(image.convert("RGB"))


def main() -> None:
    forms, out = {}, []
    for module in (bmps, gifs, jpegs, others, pngs, tiffs):
        forms |= module.forms()
    for name, data in forms.items():
        near = 0
        if isinstance(data, tuple):
            data, near = data
        # What Pillow's modes do not tell: I of 32 bits is cut off at 255, I;16 of 12
        # bits keeps 4 bits less.
        Image.Image.format_was = {"tiff/32": "TIFF32", "tiff/12": "12 bits"}.get(name[:7])
        row = {"name": name, "file": base64.b64encode(data).decode()}
        try:
            rgb = seen(data)
        except Exception as e:
            sys.exit(f"{name}: {type(e).__name__}: {e}")
        row |= {"w": rgb.shape[1], "h": rgb.shape[0], "rgb": base64.b64encode(rgb.tobytes()).decode()}
        if near:
            row["near"] = near
        out.append(row)
    text = "[\n" + ",\n".join(json.dumps(r) for r in out) + "\n]\n"
    packed = gzip.compress(text.encode(), 9, mtime=0)
    Path(__file__).with_name("pictures.json.gz").write_bytes(packed)
    print(len(out), "pictures,", len(packed), "bytes")


main()
