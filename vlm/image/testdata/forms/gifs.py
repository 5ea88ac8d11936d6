"""GIF, one code of three bits or more a pixel."""

import struct

PALETTE = b"\xff\0\0\0\xff\0\0\0\xff\xff\xff\0"


def pixels(w: int, h: int) -> list:
    return [(x + y) % 4 for y in range(h) for x in range(w)]


def packed(values: list, bits: int = 2) -> bytes:
    """LZW whose table is cleared before each value."""
    number, at, width = 0, 0, bits + 1
    for v in values:
        for code in (1 << bits, v):
            number |= code << at
            at += width
    number |= (1 << bits) + 1 << at
    body = number.to_bytes((at + width + 7) // 8, "little")
    return bytes([bits]) + b"".join(bytes([len(body[i:i + 255])]) + body[i:i + 255] for i in range(0, len(body), 255)) + b"\0"


def long(values: list, bits: int = 2) -> bytes:
    """LZW as it is meant, with a table that grows."""
    table, codes, text = {(v,): v for v in range(1 << bits)}, [1 << bits], ()
    size = (1 << bits) + 2
    widths, width = [bits + 1], bits + 1
    for v in values:
        if text + (v,) in table:
            text += (v,)
            continue
        codes.append(table[text])
        widths.append(width)
        table[text + (v,)] = size
        size += 1
        if size > 1 << width and width < 12:
            width += 1
        text = (v,)
    codes += [table[text], (1 << bits) + 1]
    widths += [width, width]
    number, at = 0, 0
    for code, w in zip(codes, widths):
        number |= code << at
        at += w
    body = number.to_bytes((at + 7) // 8, "little")
    return bytes([bits]) + b"".join(bytes([len(body[i:i + 255])]) + body[i:i + 255] for i in range(0, len(body), 255)) + b"\0"


def frame(x: int, y: int, w: int, h: int, body: bytes, local: bytes = b"", interlaced: bool = False, clear: int = -1) -> bytes:
    control = b"!\xf9\4" + bytes([clear >= 0, 0, 0, max(clear, 0)]) + b"\0"
    return control + b"," + struct.pack("<HHHHB", x, y, w, h, (0x80 | 1 if local else 0) | (0x40 if interlaced else 0)) + local + body


def gif(w: int, h: int, *frames: bytes, colours: bytes = PALETTE, background: int = 0, version: bytes = b"GIF89a") -> bytes:
    return version + struct.pack("<HHBBB", w, h, 0x81 if colours else 0, background, 0) + colours + b"".join(frames) + b";"


def forms() -> dict:
    whole = packed(pixels(8, 6))
    return {
        "gif/whole": gif(8, 6, frame(0, 0, 8, 6, whole)),
        "gif/87a": gif(8, 6, frame(0, 0, 8, 6, whole), version=b"GIF87a"),
        "gif/strings": gif(31, 17, frame(0, 0, 31, 17, long(pixels(31, 17)))),
        "gif/a larger frame": gif(8, 6, frame(0, 0, 10, 6, packed(pixels(10, 6)))),
        "gif/a frame beyond the screen": gif(8, 6, frame(2, 1, 8, 6, whole)),
        "gif/too much data": gif(8, 6, frame(0, 0, 8, 6, packed(pixels(8, 6) + [1, 2, 3]))),
        "gif/a screen of nothing": gif(0, 0, frame(0, 0, 8, 6, whole)),
        "gif/a small frame": gif(8, 6, frame(2, 1, 4, 3, packed(pixels(4, 3)))),
        "gif/a small frame and a background": gif(8, 6, frame(2, 1, 4, 3, packed(pixels(4, 3))), background=2),
        "gif/a small frame, transparent": gif(8, 6, frame(2, 1, 4, 3, packed(pixels(4, 3)), clear=2), background=1),
        "gif/transparent": gif(8, 6, frame(0, 0, 8, 6, whole, clear=0)),
        "gif/transparent beyond the palette": gif(8, 6, frame(0, 0, 8, 6, packed([v + 3 for v in pixels(8, 6)], 3), clear=5)),
        "gif/beyond the palette": gif(8, 6, frame(0, 0, 8, 6, packed([v + 3 for v in pixels(8, 6)], 3))),
        "gif/interlaced": gif(8, 21, frame(0, 0, 8, 21, packed([(i // 8) % 4 for i in range(8 * 21)]), interlaced=True)),
        "gif/a palette of its own": gif(8, 6, frame(0, 0, 8, 6, whole, local=b"\1\2\3\x40\x50\x60\x70\x80\x90\xa0\xb0\xc0")),
        "gif/no palette": gif(8, 6, frame(0, 0, 8, 6, packed([40 * v for v in pixels(8, 6)], 8)), colours=b""),
        "gif/a palette of grays": gif(8, 6, frame(0, 0, 8, 6, packed([v + 2 for v in pixels(8, 6)], 3)), colours=bytes([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])),
        "gif/codes of 12 bits": gif(8, 6, frame(0, 0, 8, 6, packed(pixels(8, 6), 11))),
        "gif/two frames": gif(8, 6, frame(0, 0, 8, 6, whole), frame(0, 0, 8, 6, packed([1] * 48))),
        "gif/extensions": gif(8, 6, b"!\xfe\3abc\2de\0", b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0", frame(0, 0, 8, 6, whole)),
        "gif/no end": gif(8, 6, frame(0, 0, 8, 6, whole))[:-2],
    }
