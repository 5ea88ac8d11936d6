"""TIFF, with a writer for what libtiff's users seldom write."""

import struct
import zlib

import numpy as np
from PIL import Image

from jpegs import xmp
from paint import H, W, image, rgba, save, smooth

TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}


def tiff(strips: list, tags: dict, order: str = "<", big: bool = False, tiled: bool = False) -> bytes:
    """tags: number -> (type, values); strips are put behind the header."""
    offset, size = (16, "Q") if big else (4, "I")
    data, at = b"", 16 if big else 8
    offsets = []
    for s in strips:
        offsets.append(at + len(data))
        data += s + bytes(len(s) % 2)
    tags = {256: (4, [W]), 257: (4, [H])} | tags
    tags |= {324 if tiled else 273: (4, offsets), 325 if tiled else 279: (4, [len(s) for s in strips])}
    entries, extra, inline = b"", b"", 8 if big else 4
    start = at + len(data)
    head = (8 if big else 2) + (20 if big else 12) * len(tags) + (8 if big else 4)
    for tag, (kind, values) in sorted(tags.items()):
        body = bytes(values) if kind == 1 else struct.pack(order + TYPES[kind] * len(values), *values)
        entry = struct.pack(order + "HH" + size, tag, kind, len(values))
        if len(body) > inline:
            entries += entry + struct.pack(order + size, start + head + len(extra))
            extra += body + bytes(len(body) % 2)
        else:
            entries += entry + body.ljust(inline, b"\0")
    directory = struct.pack(order + ("Q" if big else "H"), len(tags)) + entries + bytes(8 if big else 4)
    first = (b"II" if order == "<" else b"MM") + (struct.pack(order + "HHHQ", 43, 8, 0, start) if big else struct.pack(order + "HI", 42, start))
    return first + data + directory + extra


def tags(photo: int, bits: list, pack: int = 1, **more) -> dict:
    names = {"planar": 284, "rows": 278, "extra": 338, "format": 339, "fill": 266, "predictor": 317, "chroma": 530, "orientation": 274, "fax": 292}
    out = {258: (3, bits), 259: (3, [pack]), 262: (3, [photo]), 277: (3, [len(bits)])}
    for name, v in more.items():
        if name == "tile":
            out |= {322: (3, [v[0]]), 323: (3, [v[1]])}
        elif name == "map":
            out[320] = (3, v)
        elif name == "xmp":
            out[700] = (1, list(v))
        else:
            out[names[name]] = (3, v if isinstance(v, list) else [v])
    return out


def lines(values: np.ndarray, bits: int, order: str = "<") -> bytes:
    """[h, w·channels] as packed lines."""
    if bits in (8, 16, 32):
        return values.astype(f"{order}u{bits // 8}").tobytes()
    out = b""
    for line in values:
        digits = "".join(format(int(v), f"0{bits}b") for v in line)
        out += int(digits.ljust(-(-len(digits) // 8) * 8, "0"), 2).to_bytes(-(-len(digits) // 8), "big")
    return out


def tiles(values: np.ndarray, w: int, h: int) -> list:
    """[H, W, channels] cut into padded tiles."""
    padded = np.pad(values, ((0, -H % h), (0, -W % w), (0, 0)))
    return [padded[y:y + h, x:x + w] for y in range(0, H, h) for x in range(0, W, w)]


def turned(data: bytes) -> bytes:
    return bytes(int(format(b, "08b")[::-1], 2) for b in data)


def forms() -> dict:
    colours, y, x = rgba(), *np.mgrid[0:H, 0:W]
    rgb = colours[..., :3]
    wide = colours.astype(np.int64) * 257 - colours
    out = {}
    for bits in (1, 2, 4, 8):
        gray = (x * 7 + y * 3) % (1 << bits)
        for name, photo in (("white is 0", 0), ("black is 0", 1)):
            out[f"tiff/{bits} bits, {name}"] = tiff([lines(gray, bits)], tags(photo, [bits]))
            if bits < 8:
                out[f"tiff/{bits} bits, {name}, turned"] = tiff([turned(lines(gray, bits))], tags(photo, [bits], fill=2))
        colourmap = [(i * 9973 + k * 20011) % 65536 for k in range(3) for i in range(1 << bits)]
        out[f"tiff/palette of {bits} bits"] = tiff([lines(gray, bits)], tags(3, [bits], map=colourmap))
    out["tiff/12 bits"] = tiff([lines((x * 319 + y * 100) % 4096, 12)], tags(1, [12]))
    for order in "<>":
        out[f"tiff/16 bits {order}"] = tiff([lines(wide[..., 0], 16, order)], tags(1, [16]), order)
        out[f"tiff/RGB of 16 bits {order}"] = tiff([lines(wide[..., :3].reshape(H, -1), 16, order)], tags(2, [16] * 3), order)
    out["tiff/16 bits, signed"] = tiff([lines(wide[..., 0] // 2, 16)], tags(1, [16], format=2))
    out["tiff/32 bits"] = tiff([lines(x * 40 + y, 32)], tags(1, [32], format=2))
    out["tiff/32 floating point"] = tiff([(x * 30.7 - 20 + y).astype("<f4").tobytes()], tags(1, [32], format=3))
    body = [lines(colours[..., :3].reshape(H, -1), 8)]
    out["tiff/RGB"] = tiff(body, tags(2, [8] * 3))
    out["tiff/BigTIFF"] = tiff(body, tags(2, [8] * 3), big=True)
    out["tiff/strips of 4 lines"] = tiff([lines(rgb[i:i + 4].reshape(-1, 3 * W), 8) for i in range(0, H, 4)], tags(2, [8] * 3, rows=4))
    out["tiff/planes"] = tiff([lines(rgb[..., k], 8) for k in range(3)], tags(2, [8] * 3, planar=2))
    out["tiff/planes of 16 bits, packed"] = tiff([zlib.compress(lines(wide[i:i + 4, :, k], 16)) for k in range(3) for i in range(0, H, 4)], tags(2, [16] * 3, 8, planar=2, rows=4))
    out["tiff/tiles"] = tiff([lines(t.reshape(16, -1), 8) for t in tiles(rgb, 16, 16)], tags(2, [8] * 3, tile=(16, 16)), tiled=True)
    big = {256: (4, [W]), 257: (4, [H])}
    out["tiff/tiles in planes"] = tiff([zlib.compress(lines(t[..., k], 8)) for k in range(3) for t in tiles(rgb, 16, 16)], big | tags(2, [8] * 3, 8, planar=2, tile=(16, 16)), tiled=True)
    for n, name in ((3, "RGB"), (4, "RGBA")):
        parts = [zlib.compress(lines(t[..., k], 16)) for k in range(n) for t in tiles(wide[..., :n], 16, 16)]
        out[f"tiff/tiles in planes of 16 bits, {name}"] = tiff(parts, tags(2, [16] * n, 8, planar=2, tile=(16, 16), **({"extra": 2} if n == 4 else {})), tiled=True)
    for name, extra in (("ignored", 0), ("associated", 1), ("straight", 2), ("CorelDRAW's", 999)):
        out[f"tiff/RGBA, alpha {name}"] = tiff([lines(colours.reshape(H, -1), 8)], tags(2, [8] * 4, extra=extra))
    out["tiff/RGBA that does not say so"] = tiff([lines(colours.reshape(H, -1), 8)], tags(2, [8] * 4))
    for name, extra in (("associated", 1), ("straight", 2)):
        out[f"tiff/RGBA of 16 bits, alpha {name}"] = tiff([lines(wide.reshape(H, -1), 16)], tags(2, [16] * 4, extra=extra))
    out["tiff/gray and alpha"] = tiff([lines(colours[..., [0, 3]].reshape(H, -1), 8)], tags(1, [8] * 2, extra=2))
    out["tiff/gray and what is none"] = tiff([lines(colours[..., [0, 3]].reshape(H, -1), 8)], tags(1, [8] * 2, extra=0))
    out["tiff/five samples"] = tiff([lines(np.dstack([colours, colours[..., 0]]).reshape(H, -1), 8)], tags(2, [8] * 5, extra=[2, 0]))
    out["tiff/CMYK"] = tiff([lines(colours.reshape(H, -1), 8)], tags(5, [8] * 4))
    out["tiff/CMYK of 16 bits"] = tiff([lines(wide.reshape(H, -1), 16)], tags(5, [16] * 4))
    out["tiff/Lab"] = save(Image.fromarray(np.dstack([colours[..., 0], (colours[..., 1] // 4) + 96, (colours[..., 2] // 4) + 96]), "LAB"), "TIFF"), 8  # LittleCMS interpolates in a table
    ycc = np.asarray(smooth(W + 3, H + 7, "YCbCr"))
    units = b"".join(bytes([*ycc[j, i:i + 2, 0], *ycc[j + 1, i:i + 2, 0], ycc[j, i, 1], ycc[j, i, 2]]) for j in range(0, H, 2) for i in range(0, W, 2))
    out["tiff/YCbCr of 22, packed"] = tiff([zlib.compress(units)], tags(6, [8] * 3, 8, chroma=[2, 2])), 1
    out["tiff/YCbCr of 11"] = tiff([lines(ycc[:H, :W].reshape(H, -1), 8)], tags(6, [8] * 3, chroma=[1, 1]))
    for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "jpeg", "tiff_deflate"):
        for mode in ("RGB", "L", "CMYK"):
            out[f"tiff/{name} {mode}"] = save(image(mode) if name != "jpeg" else smooth(27, 19, mode), "TIFF", compression=name)
    for name in ("tiff_lzw", "tiff_adobe_deflate"):
        out[f"tiff/{name}, differences"] = save(image(), "TIFF", compression=name, tiffinfo={317: 2})
    differences = np.concatenate([wide[:, :1, :3], np.diff(wide[..., :3], axis=1)], 1) % 65536
    for order in "<>":
        out[f"tiff/differences of 16 bits {order}"] = tiff([zlib.compress(lines(differences.reshape(H, -1), 16, order))], tags(2, [16] * 3, 8, predictor=2), order)
    out["tiff/YCbCr JPEG"] = save(smooth(27, 19, "YCbCr"), "TIFF", compression="jpeg")
    whole = save(smooth(W, H), "JPEG")
    old = tiff([whole], tags(6, [8] * 3, 6) | {513: (4, [8])})
    out["tiff/JPEG of the old style"] = old, 1
    fax = Image.new("1", (40, 24), 1)
    for i in range(5, 15):
        for j in range(4, 10):
            fax.putpixel((i, j), (i * j) % 3 == 0)
    for name in ("group3", "group4", "tiff_ccitt"):
        for photo in (0, 1):
            out[f"tiff/{name}, photometric {photo}"] = save(fax, "TIFF", compression=name, tiffinfo={262: photo})
    out["tiff/group3 of two dimensions"] = save(fax, "TIFF", compression="group3", tiffinfo={292: 1})
    out["tiff/group3 of whole bytes"] = save(fax, "TIFF", compression="group3", tiffinfo={292: 4})
    long = Image.new("1", (3000, 3), 1)
    long.paste(0, (100, 0, 2900, 1))
    out["tiff/group4 of long runs"] = save(long.resize((2700, 2)), "TIFF", compression="group4")
    for orientation in (3, 6):
        out[f"tiff/orientation {orientation}"] = tiff(body, tags(2, [8] * 3, orientation=orientation))
    out["tiff/XMP"] = tiff(body, tags(2, [8] * 3, xmp=xmp('tiff:Orientation="8"/>')))
    return out
