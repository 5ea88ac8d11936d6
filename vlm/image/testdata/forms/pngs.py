"""PNG, whole and with what Pillow overlooks."""

import struct
import zlib

import numpy as np
from PIL import Image, PngImagePlugin

from jpegs import exif, xmp
from paint import H, W, image, rgba, save


def chunk(kind: bytes, body: bytes, sum: int | None = None) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) if sum is None else sum)


def png(bits: int, colour: int, values: np.ndarray, before: bytes = b"", interlaced: bool = False, surplus: bytes = b"", after: bytes = b"", wrong: bool = False, end: bool = True) -> bytes:
    """values: [h, w, channels] of whole samples; at bits below 8 one channel."""
    h, w = values.shape[:2]
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = b""
    for x, y, dx, dy in passes:
        for line in values[y::dy, x::dx]:
            if not line.size:
                continue
            digits = "".join(format(int(v), f"0{bits}b") for v in line.reshape(-1))
            raw += b"\0" + int(digits.ljust(-(-len(digits) // 8) * 8, "0"), 2).to_bytes(-(-len(digits) // 8), "big")
    packed = zlib.compress(raw + surplus)
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, bits, colour, 0, 0, interlaced)) + before
    return head + chunk(b"IDAT", packed, 7 if wrong else None) + after + (chunk(b"IEND", b"") if end else b"")


def forms() -> dict:
    colours = rgba()
    y, x = np.mgrid[0:H, 0:W]
    plte = chunk(b"PLTE", bytes(range(7, 7 + 48)))
    out = {}
    for bits in (1, 2, 4, 8, 16):
        out[f"png/gray of {bits}"] = png(bits, 0, ((x * 4099 + y * 977) % (1 << bits))[..., None])
        if bits < 16:
            out[f"png/palette of {bits}"] = png(bits, 3, ((x + y) % min(16, 1 << bits))[..., None], plte)
    out["png/gray of 16 with a transparent value"] = png(16, 0, ((x * 4099 + y * 977) % 65536)[..., None], chunk(b"tRNS", struct.pack(">H", 4099)))
    out["png/gray of 8 with a transparent value"] = png(8, 0, ((x + y) % 9)[..., None], chunk(b"tRNS", b"\0\4"))
    out["png/RGB with a transparent colour"] = png(8, 2, colours[..., :3], chunk(b"tRNS", b"\0" + b"\0".join(bytes([v]) for v in colours[2, 3, :3])))
    out["png/palette with alpha"] = png(4, 3, ((x + y) % 16)[..., None], plte + chunk(b"tRNS", bytes([0, 100, 200])))
    wide = colours.astype(np.int64) * 257 - colours
    for name, colour, channels in (("RGB", 2, [0, 1, 2]), ("gray and alpha", 4, [0, 3]), ("RGBA", 6, [0, 1, 2, 3])):
        out[f"png/{name}"] = png(8, colour, colours[..., channels])
        out[f"png/{name} of 16"] = png(16, colour, wide[..., channels])
        out[f"png/{name} interlaced"] = png(8, colour, colours[..., channels], interlaced=True)
    rgb = colours[..., :3]
    out["png/a wrong sum of pixels"] = png(8, 2, rgb, wrong=True)
    out["png/a wrong sum of pixels, interlaced"] = png(8, 2, rgb, wrong=True, interlaced=True)
    out["png/a wrong sum of a palette's pixels"] = png(4, 3, ((x + y) % 16)[..., None], plte + chunk(b"tRNS", bytes([0, 100, 200])), wrong=True)
    out["png/surplus"] = png(8, 2, rgb, surplus=bytes(300))
    out["png/no end"] = png(8, 2, rgb, end=False)
    out["png/a damaged text behind"] = png(8, 2, rgb, after=chunk(b"tEXt", b"a\0b", 7))
    tall = Image.fromarray(rgb)
    block = exif(6)[6:]
    out["png/eXIf"] = save(tall, "PNG", exif=exif(6))
    out["png/eXIf behind"] = png(8, 2, rgb, after=chunk(b"eXIf", block))
    packet = xmp('tiff:Orientation="8"/>')
    out["png/XMP"] = png(8, 2, rgb, chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet))
    out["png/XMP packed"] = png(8, 2, rgb, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0x\0" + zlib.compress(packet)))
    profile = f"\nexif\n{len(block) + 6:8}\n{(exif(6)).hex()}\n".encode()
    out["png/ImageMagick's EXIF"] = png(8, 2, rgb, chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile)))
    return out
