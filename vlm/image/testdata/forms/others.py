"""WebP, AVIF, Netpbm, QOI and TGA."""

import struct

import numpy as np
from PIL import Image

from jpegs import exif, xmp
from paint import H, W, image, rgba, save, smooth


def netpbm(kind: str, most: int, values: np.ndarray, comment: bool = False) -> bytes:
    h, w = values.shape[:2]
    head = f"{kind}\n{'# a comment' + chr(10) if comment else ''}{w} {h}\n" + (f"{most}\n" if most else "")
    if kind < "P4":
        return (head + " ".join(str(v) for v in values.reshape(-1)) + "\n").encode()
    if kind == "P4":
        return head.encode() + b"".join(int("".join(map(str, line)).ljust(16, "0"), 2).to_bytes(2, "big") for line in values)
    return head.encode() + values.astype(">u2" if most > 255 else np.uint8).tobytes()


def qoi(colours: np.ndarray) -> bytes:
    """Every kind of code, the first that fits."""
    h, w, n = colours.shape
    out, last, seen, run = b"qoif" + struct.pack(">IIBB", w, h, n, 0), (0, 0, 0, 255), [(0, 0, 0, 0)] * 64, 0
    for pixel in colours.reshape(-1, n):
        p = tuple(int(v) for v in pixel) + (255,) * (4 - n)
        if p == last and run < 62:
            run += 1
            continue
        if run:
            out += bytes([0xC0 | run - 1])
            run = 0
        at = (p[0] * 3 + p[1] * 5 + p[2] * 7 + p[3] * 11) % 64
        d = [(a - b + 128) % 256 - 128 for a, b in zip(p, last)]
        if p == last:
            run = 1
        elif seen[at] == p:
            out += bytes([at])
        elif d[3]:
            out += b"\xff" + bytes(p)
        elif all(-2 <= v <= 1 for v in d[:3]):
            out += bytes([0x40 | d[0] + 2 << 4 | d[1] + 2 << 2 | d[2] + 2])
        elif -32 <= d[1] < 32 and all(-8 <= d[k] - d[1] < 8 for k in (0, 2)):
            out += bytes([0x80 | d[1] + 32, d[0] - d[1] + 8 << 4 | d[2] - d[1] + 8])
        else:
            out += b"\xfe" + bytes(p[:3])
        seen[at] = last = p
    return out + (bytes([0xC0 | run - 1]) if run else b"") + bytes(7) + b"\1"


def tga(kind: int, bits: int, pixels: bytes, flags: int = 0, colours: bytes = b"", mapped: int = 0) -> bytes:
    n = len(colours) * 8 // mapped if mapped else 0
    return struct.pack("<BBBHHBHHHHBB", 3, mapped > 0, kind, 0, n, mapped, 0, 0, W, H, bits, flags) + b"id!" + colours + pixels


def forms() -> dict:
    colours, y, x = rgba(), *np.mgrid[0:H, 0:W]
    plain, clear = smooth(27, 19), smooth(27, 19)
    clear.putalpha(smooth(27, 19, "L"))
    film = [smooth(20, 14), smooth(20, 14).rotate(180)]
    out = {}
    for w, h in ((1, 1), (2, 2), (5, 8), (27, 19), (16, 17)):
        out[f"webp/lossy {w}x{h}"] = save(smooth(w, h), "WEBP", quality=70)
    out["webp/lossless"] = save(plain, "WEBP", lossless=True)
    out["webp/lossy with alpha"] = save(clear, "WEBP", quality=70)
    out["webp/lossless with alpha"] = save(clear, "WEBP", lossless=True)
    out["webp/EXIF"] = save(plain, "WEBP", exif=exif(6))
    out["webp/XMP"] = save(plain, "WEBP", xmp=xmp('tiff:Orientation="8"/>'))
    out["webp/animated"] = save(film[0], "WEBP", save_all=True, append_images=film[1:], quality=70)
    out["webp/animated, lossless"] = save(film[0], "WEBP", save_all=True, append_images=film[1:], lossless=True)
    part = Image.new("RGBA", (20, 14))
    part.paste(clear.crop((0, 0, 9, 7)), (4, 6))
    out["webp/animated, a part with alpha"] = save(part, "WEBP", save_all=True, append_images=film[1:], quality=70)
    # Decoders stretch AVIF's chroma in several ways: it varies little here.
    tint = np.asarray(smooth(27, 19)).astype(int)
    plain = Image.fromarray((tint // 8 + tint.mean(axis=2, keepdims=True).astype(int) * 7 // 8).astype(np.uint8))
    alpha, clear = clear.getchannel("A"), plain.copy()
    clear.putalpha(alpha)
    film = [plain, plain.rotate(180)]
    for name, options in {"420": {}, "444": {"subsampling": "4:4:4"}, "400": {"subsampling": "4:0:0"}}.items():
        out[f"avif/{name}"] = save(plain, "AVIF", quality=80, speed=10, **options), 8
    out["avif/alpha"] = save(clear, "AVIF", quality=80, speed=10), 8
    for orientation in range(2, 9):
        out[f"avif/orientation {orientation}"] = save(plain, "AVIF", quality=80, speed=10, exif=exif(orientation)), 8
    out["avif/animated"] = save(film[0], "AVIF", save_all=True, append_images=film[1:], quality=80, speed=10), 8
    out["netpbm/P1"] = netpbm("P1", 0, (x + y) % 2, comment=True)
    out["netpbm/P1 without blanks"] = b"P1 3 2\n010\n1 1#c\n0"
    out["netpbm/P2"] = netpbm("P2", 200, (x * y) % 201)
    out["netpbm/P2 of 16 bits"] = netpbm("P2", 65535, (x * 4099 + y * 977) % 65536)
    out["netpbm/P3"] = netpbm("P3", 31, colours[..., :3] // 8)
    out["netpbm/P4"] = netpbm("P4", 0, (x + y) % 2)
    out["netpbm/P5"] = netpbm("P5", 255, colours[..., 0], comment=True)
    out["netpbm/P5 of 100"] = netpbm("P5", 100, (x * y) % 120)
    out["netpbm/P5 of 16 bits"] = netpbm("P5", 65535, (x * 4099 + y * 977) % 65536)
    out["netpbm/P5 of 1000"] = netpbm("P5", 1000, (x * 40 + y * 31) % 1001)
    out["netpbm/P6"] = netpbm("P6", 255, colours[..., :3])
    out["netpbm/P6 of 16 bits"] = netpbm("P6", 65535, colours[..., :3].astype(np.int64) * 251)
    mild = np.asarray(clear)
    out["qoi/RGB"] = qoi(np.asarray(plain))
    out["qoi/RGBA"] = qoi(np.concatenate([mild, mild[:, :1] * 0 + mild[:1, :1], np.repeat(mild[:, :1], 70, 1)], 1))
    bgr, bgra = colours[..., 2::-1], colours[..., [2, 1, 0, 3]]
    fifteen = ((colours[..., 0] >> 3).astype(np.uint16) << 10 | (colours[..., 1] >> 3).astype(np.uint16) << 5 | colours[..., 2] >> 3 | (x % 2).astype(np.uint16) << 15)
    out["tga/gray"] = tga(3, 8, colours[..., 0].tobytes())
    out["tga/gray and alpha"] = tga(3, 16, colours[..., [0, 3]].tobytes())
    out["tga/24"] = tga(2, 24, bgr.tobytes())
    out["tga/24 from the top"] = tga(2, 24, bgr.tobytes(), 0x20)
    out["tga/24 from the right"] = tga(2, 24, bgr.tobytes(), 0x10)
    out["tga/32"] = tga(2, 32, bgra.tobytes())
    out["tga/16"] = tga(2, 16, fifteen.astype("<u2").tobytes())
    for bits in (16, 24, 32):
        out[f"tga/palette of {bits}"] = tga(1, 8, ((x + y) % 10).astype(np.uint8).tobytes(), 0, bytes(range(3, 3 + 12 * bits // 8)), bits)
    rows = bytes([0x80 | 9]) + bytes(bgr[0, 0].tolist()) + bytes([W * H - 11]) + bgr.reshape(-1, 3)[10:].tobytes()
    out["tga/packed"] = tga(10, 24, rows)
    out["tga/packed palette"] = tga(9, 8, bytes([0x80 | W - 1, 3]) + bytes([W - 1]) + bytes(range(W - 4)) + b"\1\2\3\4" + bytes([0x80 | W - 1, 5]) * (H - 2), 0, bytes(range(30)), 24)
    return out
