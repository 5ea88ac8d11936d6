"""BMP, icons and cursors."""

import struct

import numpy as np

from paint import H, W, image, rgba, save

PALETTE = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (9, 99, 199), (200, 100, 50), (255, 255, 255)] * 2


def palette(n: int, size: int = 4) -> bytes:
    return b"".join(bytes([b, g, r, 0])[:size] for r, g, b in (PALETTE * 16)[:n])


def index(bits: int) -> np.ndarray:
    y, x = np.mgrid[0:H, 0:W]
    return ((x + 3 * y) % min(16, 1 << bits)).astype(np.uint8)


def rows(values: np.ndarray, bits: int) -> bytes:
    """Lines of indices or of whole pixels, padded to four bytes, bottom first."""
    out = b""
    for line in values[::-1]:
        if bits <= 8:
            digits = "".join(format(v, f"0{bits}b") for v in line)
            raw = int(digits.ljust(-(-len(digits) // 8) * 8, "0"), 2).to_bytes(-(-len(digits) // 8), "big")
        else:
            raw = b"".join(int(v).to_bytes(bits // 8, "little") for v in line)
        out += raw + bytes(-len(raw) % 4)
    return out


def bmp(bits: int, pixels: bytes, size: int = 40, pack: int = 0, colours: bytes = b"", masks: tuple = (), down: bool = False, offset: int | None = None, n: int = 0) -> bytes:
    height = -H if down else H
    if size == 12:
        head = struct.pack("<IHHHH", 12, W, H, 1, bits)
    else:
        head = struct.pack("<IiiHHIIiiII", size, W, height, 1, bits, pack, len(pixels), 0, 0, n, 0)
        field = b"".join(struct.pack("<I", m) for m in masks)
        head = head + field if size == 40 else (head + field).ljust(size, b"\0")
    at = 14 + len(head) + len(colours) if offset is None else offset
    return b"BM" + struct.pack("<IHHI", at + len(pixels), 0, 0, at) + head + colours + pixels


def packed(bits: int, masks: tuple) -> np.ndarray:
    """Pixels whose colours lie where the masks say."""
    out = np.zeros((H, W), np.int64)
    for k, mask in enumerate(masks):
        if mask:
            shift = (mask & -mask).bit_length() - 1
            most = mask >> shift
            out |= (rgba()[..., k].astype(np.int64) * most // 255) << shift
    return out


def rle8() -> bytes:
    out = b""
    for i, line in enumerate(index(8)[::-1]):
        if i == 2:
            out += bytes([W, 5]) + b"\0\0"  # one run
        elif i == 3:
            out += bytes([4, 1]) + b"\0\2\3\0" + bytes([W - 7, 2]) + b"\0\0"  # a step to the right
        else:
            out += bytes([0, W]) + bytes(line) + bytes(W % 2) + b"\0\0"
    return out + b"\0\1"


def rle4() -> bytes:
    out = b""
    for i, line in enumerate(index(4)[::-1]):
        nibbles = bytes(line) + bytes(W % 2)
        body = bytes(nibbles[k] << 4 | nibbles[k + 1] for k in range(0, len(nibbles), 2))
        out += (bytes([W, 0x5A]) if i % 2 else bytes([0, W]) + body + bytes(len(body) % 2)) + b"\0\0"
    return out + b"\0\1"


def icon(entries: list, kind: int = 1) -> bytes:
    """entries: (width, height, bits, body)."""
    at, head, bodies = 6 + 16 * len(entries), struct.pack("<HHH", 0, kind, len(entries)), b""
    for w, h, bits, body in entries:
        head += struct.pack("<BBBBHHII", w, h, 0, 0, 1, bits, len(body), at + len(bodies))
        bodies += body
    return head + bodies


def dib(bits: int, with_mask: bool = True) -> bytes:
    if bits <= 8:
        pixels, colours = rows(index(bits), bits), palette(1 << bits)
    else:
        masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000 if bits == 32 else 0)
        pixels, colours = rows(packed(bits, masks), bits), b""
    mask = (np.add.outer(np.arange(H), np.arange(W)) % 5 == 0).astype(np.uint8)
    body = struct.pack("<IiiHHIIiiII", 40, W, 2 * H, 1, bits, 0, 0, 0, 0, 0, 0) + colours + pixels
    return body + (rows(mask, 1) if with_mask else b"")


def forms() -> dict:
    rgb, rgb555, rgb565 = (0xFF0000, 0xFF00, 0xFF), (0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F)
    out = {}
    for bits in (1, 4, 8):
        body, colours = rows(index(bits), bits), palette(1 << bits)
        out[f"bmp/{bits} bits"] = bmp(bits, body, colours=colours)
        out[f"bmp/{bits} bits of OS 2"] = bmp(bits, body, size=12, colours=palette(1 << bits, 3))
        out[f"bmp/{bits} bits from the top"] = bmp(bits, body, colours=colours, down=True)
    few = np.minimum(index(8), 9)
    out["bmp/8 bits of ten colours"] = bmp(8, rows(few, 8), colours=palette(10), n=10)
    out["bmp/8 bits, an index beyond the palette"] = bmp(8, rows(index(8), 8), colours=palette(10), n=10)
    out["bmp/8 bits, an offset without the palette"] = bmp(8, rows(index(8), 8), colours=palette(256), offset=54)
    out["bmp/run lengths of 8 bits"] = bmp(8, rle8(), pack=1, colours=palette(256))
    out["bmp/run lengths of 4 bits"] = bmp(4, rle4(), pack=2, colours=palette(16))
    out["bmp/16 bits"] = bmp(16, rows(packed(16, rgb555), 16))
    out["bmp/16 bits in fields of 565"] = bmp(16, rows(packed(16, rgb565), 16), pack=3, masks=rgb565)
    out["bmp/24 bits"] = bmp(24, rows(packed(24, rgb), 24))
    out["bmp/24 bits and a palette"] = bmp(24, rows(packed(24, rgb), 24), colours=palette(16), n=16)
    out["bmp/32 bits"] = bmp(32, rows(packed(32, rgb), 32))
    for size in (40, 52, 108, 124):
        out[f"bmp/32 bits in fields, header of {size}"] = bmp(32, rows(packed(32, rgb), 32), size=size, pack=3, masks=rgb if size == 40 else rgb + (0,))
    for name, masks in {"RGBA": (0xFF, 0xFF00, 0xFF0000, 0xFF000000), "ABGR": (0xFF000000, 0xFF0000, 0xFF00, 0xFF)}.items():
        out[f"bmp/32 bits in fields of {name}"] = bmp(32, rows(packed(32, masks), 32), size=124, pack=3, masks=masks)
    out["bmp/64 bytes of header"] = bmp(24, rows(packed(24, rgb), 24), size=64)
    out["bmp/without a file header"] = bmp(24, rows(packed(24, rgb), 24))[14:]
    for bits in (1, 4, 8, 24, 32):
        out[f"ico/{bits} bits"] = icon([(W, H, bits, dib(bits))])
    out["ico/32 bits that the directory calls 24"] = icon([(W, H, 24, dib(32))])
    out["ico/PNG"] = icon([(W, H, 32, save(image("RGBA"), "PNG"))])
    small = save(image("RGBA", 5, 5), "PNG")
    out["ico/the largest of three"] = icon([(5, 5, 32, small), (W, H, 32, dib(32)), (W, H, 8, dib(8))])
    for bits in (1, 8, 24, 32):
        out[f"cur/{bits} bits"] = icon([(W, H, 0, dib(bits))], kind=2)
    return out
