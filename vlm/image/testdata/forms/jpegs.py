"""JPEG, with a writer of flat blocks for the samplings that others do not write."""

import io
import struct

import numpy as np
from PIL import Image

from paint import image, save, smooth

DC = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]  # Annex K's table for luma
NAMES = ((1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (4, 2))


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def codes(counts: list) -> list:
    out, code = [], 0
    for length, n in enumerate(counts, 1):
        for _ in range(n):
            out.append(format(code, f"0{length}b"))
            code += 1
        code <<= 1
    return out


def blocks(w: int, h: int, factors: list, value, adobe: int | None = None, tables: bool = True, ids: list | None = None, restart: int = 0) -> bytes:
    """Blocks of one value each: factors is (across, down) of every component."""
    most = max(a for a, _ in factors), max(b for _, b in factors)
    ids = ids or list(range(1, len(factors) + 1))
    out = b"\xff\xd8"
    if adobe is not None:
        out += segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([adobe]))
    out += segment(0xDB, b"\0" + bytes([8]) * 64)
    out += segment(0xC0, struct.pack(">BHHB", 8, h, w, len(factors)) + b"".join(bytes([i, a << 4 | b, 0]) for i, (a, b) in zip(ids, factors)))
    end = "1010" if not tables else "0"  # of a block: Annex K's code, or the only one
    if tables:
        out += segment(0xC4, b"\0" + bytes(DC) + bytes(range(12))) + segment(0xC4, b"\x10\1" + bytes(15) + b"\0")
    if restart:
        out += segment(0xDD, struct.pack(">H", restart))
    out += segment(0xDA, bytes([len(factors)]) + b"".join(bytes([i, 0]) for i in ids) + b"\0\x3f\0")
    sizes, text, last, done = codes(DC), "", [0] * len(factors), 0

    def flush() -> bytes:
        bits = text + "1" * (-len(text) % 8)
        return bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")

    for j in range(-(-h // (8 * most[1]))):
        for i in range(-(-w // (8 * most[0]))):
            if restart and done and done % restart == 0:
                out += flush() + bytes([0xFF, 0xD0 + (done // restart - 1) % 8])
                text, last = "", [0] * len(factors)
            done += 1
            for c, (a, b) in enumerate(factors):
                for k in range(a * b):
                    v = value(c, (i * a + k % a) / a, (j * b + k // a) / b) - 128
                    d, last[c] = v - last[c], v
                    size = abs(d).bit_length()
                    text += sizes[size] + (format(d if d > 0 else d + (1 << size) - 1, f"0{size}b") if size else "") + end
    return out + flush() + b"\xff\xd9"


def value(c: int, x: float, y: float) -> int:
    return int(40 + (60 * x + 35 * y * (c + 1) + 50 * c) % 170)


def exif(orientation: int) -> bytes:
    e = Image.Exif()
    e[0x0112] = orientation
    return e.tobytes()


def xmp(text: str) -> bytes:
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" {text}</x:xmpmeta>'.encode()


def forms() -> dict:
    plain, ink = smooth(27, 19), smooth(27, 19, "CMYK")
    out = {}
    for name, sampling in {"444": 0, "422": 1, "420": 2}.items():
        out[f"jpeg/{name}"] = save(plain, "JPEG", subsampling=sampling, quality=80)
        out[f"jpeg/{name} progressive"] = save(plain, "JPEG", subsampling=sampling, quality=80, progressive=True)
    for w, h in ((1, 1), (2, 3), (3, 2), (5, 17), (8, 8), (16, 16), (17, 16)):
        out[f"jpeg/420 of {w}x{h}"] = save(smooth(w, h), "JPEG", quality=85)
        out[f"jpeg/422 of {w}x{h}"] = save(smooth(w, h), "JPEG", quality=85, subsampling=1)
    for factors in ([(2, 2), (1, 1), (1, 2)], [(2, 2), (1, 1), (2, 2)], [(1, 1), (2, 2), (2, 2)], [(1, 2), (1, 1), (1, 1)], [(4, 1), (1, 1), (1, 1)],
                    [(4, 2), (1, 1), (1, 1)], [(4, 1), (2, 1), (1, 1)], [(2, 1), (1, 2), (1, 1)], [(1, 4), (1, 1), (1, 2)], [(3, 1), (1, 1), (1, 1)], [(2, 2), (2, 1), (2, 1)]):
        name = " ".join(f"{a}{b}" for a, b in factors)
        out[f"jpeg/sampling {name}"] = blocks(37, 29, factors, value)
    out["jpeg/without tables"] = blocks(27, 19, [(1, 1)] * 3, value, tables=False)
    out["jpeg/CMYK without Adobe"] = blocks(27, 19, [(1, 1)] * 4, value)
    out["jpeg/CMYK of Adobe"] = save(ink, "JPEG", quality=80)
    out["jpeg/YCCK"] = blocks(27, 19, [(2, 2), (1, 1), (1, 1), (2, 2)], value, adobe=2)
    out["jpeg/RGB of Adobe"] = blocks(27, 19, [(1, 1)] * 3, value, adobe=0)
    out["jpeg/RGB by name"] = blocks(27, 19, [(1, 1)] * 3, value, ids=[82, 71, 66])
    out["jpeg/gray"] = save(plain.convert("L"), "JPEG", quality=70)
    out["jpeg/gray of sampling 22"] = blocks(27, 19, [(2, 2)], value)
    out["jpeg/restarts"] = save(plain, "JPEG", quality=80, restart_marker_blocks=1)
    out["jpeg/restarts of odd sampling"] = blocks(37, 29, [(2, 2), (1, 1), (1, 2)], value, restart=2)
    out["jpeg/MPO"] = save(plain, "MPO", save_all=True, append_images=[smooth(27, 19).rotate(180)])
    damaged = bytearray(save(plain, "JPEG", quality=80, restart_marker_blocks=1))
    damaged[damaged.index(b"\xff\xd0") + 4] ^= 0x55
    out["jpeg/a damaged part"] = bytes(damaged)
    whole = out["jpeg/420"]
    at = whole.index(b"\xff\xdb")
    out["jpeg/rubbish between segments"] = whole[:at] + b"\0\1\2" + b"\xff\xff" + whole[at:]
    out["jpeg/rubbish behind the end"] = whole + b"\0" * 9 + b"surplus"
    out["jpeg/EXIF 6"] = save(plain, "JPEG", exif=exif(6))
    out["jpeg/XMP 8"] = save(plain, "JPEG", xmp=xmp('tiff:Orientation="8"/>'))
    out["jpeg/XMP 3, an element"] = save(plain, "JPEG", xmp=xmp("><tiff:Orientation>3</tiff:Orientation>"))
    out["jpeg/EXIF 6 before XMP 3"] = save(plain, "JPEG", exif=exif(6), xmp=xmp('tiff:Orientation="3"/>'))
    out["jpeg/EXIF 1 before XMP 3"] = save(plain, "JPEG", exif=exif(1), xmp=xmp('tiff:Orientation="3"/>'))
    return out
