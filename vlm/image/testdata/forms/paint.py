"""What the pictures show: colours that vary in every way, with some alpha."""

import io

import numpy as np
from PIL import Image

W, H = 13, 9


def rgba(w: int = W, h: int = H) -> np.ndarray:
    y, x = np.mgrid[0:h, 0:w]
    return np.dstack([x * 255 // max(1, w - 1), y * 255 // max(1, h - 1), (x * 37 + y * 91) % 256, 255 - (x * y * 11) % 256]).astype(np.uint8)


def image(mode: str = "RGB", w: int = W, h: int = H) -> Image.Image:
    whole = Image.fromarray(rgba(w, h))
    if mode == "P":
        return whole.convert("RGB").quantize(16, dither=Image.Dither.NONE)
    if mode == "RGBA":
        return whole
    return whole.convert("RGB").convert(mode)


def smooth(w: int, h: int, mode: str = "RGB") -> Image.Image:
    return Image.fromarray(rgba(6, 5)[..., :3]).resize((w, h), Image.BICUBIC).convert(mode)


def save(picture: Image.Image, format: str, **options) -> bytes:
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()
