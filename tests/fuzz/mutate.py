"""Mutations: of bytes, and of the JSON in them, which bytes alone hardly ever leave well formed."""

import json
import random
import struct
from collections.abc import Callable
from typing import Any

Mutation = Callable[[bytes, random.Random], bytes]

# What a forged file may say where something else is meant.
_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 0.5, 1e300, float("inf"), float("nan")),
    *(1 << 31, 1 << 62, 1 << 63, 1 << 64, 10**40),
    *("", "x", "\0", "\ud800", "../..", "/", "s2", "native", "uint16", "1", "a" * 300),
    *([], [0], [[]], {}, {"x": 1}, ["x", "x"], [1, 1]),
)
# Tags of TIFFs that say what the pixels are, and numbers of types and what they may say.
_TAGS = (*range(254, 285), 317, *range(320, 326), 338, 339, 33550, 33922, 34264, 34735, 42113)
_SAID = (*range(9), 16, 17, 32, 64, 255, 256, 5000, 8, 32773, 32946, 34925, 50000, 65535, 1 << 31)
_FILL = (0, 1, 0x7F, 0x80, 0xFF, 0x20, 0x22, 0x2D, 0x39, 0x5B, 0x7B)


def of_bytes(data: bytes, draw: random.Random) -> bytes:
    """Some bytes flipped, filled, removed, repeated or swapped, or the end cut off."""
    out = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        at, length = draw.randrange(len(out) + 1), draw.choice((1, 2, 4, 8, 64, 512))
        kind = draw.randrange(6)
        if kind == 0 and out:
            out[min(at, len(out) - 1)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            out[at : at + length] = bytes([draw.choice(_FILL)]) * len(out[at : at + length])
        elif kind == 2:
            del out[at : at + length]
        elif kind == 3:
            out[at:at] = out[at : at + length]
        elif kind == 4:
            out[at : at + 8] = draw.getrandbits(64).to_bytes(8, "little")[: len(out[at : at + 8])]
        elif draw.random() < 0.2:
            del out[at:]
    return bytes(out)


def of_json(data: bytes, draw: random.Random) -> bytes:
    """One or two values of a JSON text replaced, removed, repeated or renamed."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return of_bytes(data, draw)
    for _ in range(draw.choice((1, 1, 2))):
        content = _changed(content, draw)
    return json.dumps(content).encode(errors="surrogatepass")


def of_header(data: bytes, draw: random.Random) -> bytes:
    """The JSON header of a safetensors file changed, its length made to fit."""
    length = int.from_bytes(data[:8], "little")
    text = of_json(data[8 : 8 + length], draw)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def of_lines(data: bytes, draw: random.Random) -> bytes:
    """The JSON of one line changed."""
    lines = data.split(b"\n")
    at = draw.randrange(len(lines))
    lines[at] = of_json(lines[at], draw)
    return b"\n".join(lines)


def of_tags(data: bytes, draw: random.Random) -> bytes:
    """Some entries of a TIFF's directory changed: tag, type, count or value; or bytes, as else."""
    order, out = "<" if data[:2] == b"II" else ">", bytearray(data)
    if draw.random() < 0.3:
        return of_bytes(data, draw)
    try:
        classic = struct.unpack_from(f"{order}H", data, 2)[0] == 42
        word, count, entry = ("I", "H", "HHII") if classic else ("Q", "Q", "HHQQ")
        start = struct.unpack_from(order + word, data, 4 if classic else 8)[0]
        number = struct.unpack_from(order + count, data, start)[0]
        size, first = struct.calcsize(f"={entry}"), start + struct.calcsize(f"={count}")
        places = [first + size * n for n in range(min(number, 64))]
        for _ in range(draw.choice((1, 1, 2, 3))):
            place = draw.choice(places)
            fields = list(struct.unpack_from(order + entry, data, place))
            kind = draw.randrange(8)
            if kind == 0:
                fields[0] = draw.choice(_TAGS)
            elif kind == 1:
                fields[1] = draw.choice((*range(1, 14), 16, draw.randrange(99)))
            elif kind == 2:
                fields[2] = draw.choice((0, 1, 2, 3, 8, 64, fields[2] + 1, max(fields[2] - 1, 0)))
            elif kind == 3:  # as another entry has it
                fields[draw.randrange(1, 4)] = struct.unpack_from(
                    order + entry, data, draw.choice(places)
                )[draw.randrange(1, 4)]
            elif kind == 4:
                fields[3] = max(fields[3] + draw.choice((-8, -4, -2, -1, 1, 2, 4, 8)), 0)
            else:  # a short value lies in the first two bytes
                value = draw.choice((*_SAID, draw.randrange(1 << 16)))
                short = struct.pack(f"{order}H", value & 0xFFFF) + bytes(struct.calcsize(word) - 2)
                fields[3] = value
                if fields[1] == 3:
                    fields[3] = struct.unpack(order + word, short)[0]
            struct.pack_into(order + entry, out, place, *fields)
    except (struct.error, IndexError, OverflowError):
        return of_bytes(data, draw)
    return bytes(out)


def of_blocks(data: bytes, draw: random.Random) -> bytes:
    """Kind, size, name or other bytes of some headers of a tar archive changed, with their sum."""
    places = [at for at in range(0, len(data) - 511, 512) if data[at + 257 : at + 262] == b"ustar"]
    if not places or draw.random() < 0.2:
        return of_bytes(data, draw)
    out = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 3))):
        at, kind = draw.choice(places), draw.randrange(6)
        if kind == 0:
            out[at + 156] = draw.choice(b"0127xgLKVMSXD5\0")
        elif kind == 1 and out[at + 156] not in b"LK":  # readers differ in what its size means
            out[at + 124 : at + 136] = b"%011o\0" % draw.choice(
                (0, 1, 3, 6, 130, 512, 513, 1 << 20)
            )
        elif kind == 2:
            out[at + draw.choice((0, draw.randrange(100)))] = draw.choice(b"./a\0\xff ")
        elif kind == 3:  # what an entry has that tells about the next one
            if at + 512 < len(out):
                beyond = draw.randrange(min(64, len(out) - at - 512))
                out[at + 512 + beyond] = draw.choice(b"./a9\0 =\n")
        elif kind == 4:
            # A prefix of GNU's has another meaning than that of POSIX, which not all readers know.
            out[at + draw.randrange(345)] = draw.randrange(256)
        else:
            out[at:at] = out[at : at + 512 * draw.choice((1, 2, 3))]
        header = out[at : at + 148] + b" " * 8 + out[at + 156 : at + 512]
        out[at + 148 : at + 156] = b"%06o\0 " % sum(header)
    return bytes(out)


def _changed(content: Any, draw: random.Random) -> Any:
    """A copy of a JSON value in which something, at any depth, is another."""
    if isinstance(content, dict) and content and draw.random() < 0.9:
        name = draw.choice(list(content))
        kind = draw.randrange(8)
        if kind == 0:
            return {key: value for key, value in content.items() if key != name}
        if kind == 1:
            return content | {draw.choice(("x", "", "\0", name + "2")): content[name]}
        return content | {name: _changed(content[name], draw)}
    if isinstance(content, list) and content and draw.random() < 0.9:
        at = draw.randrange(len(content))
        kind = draw.randrange(8)
        if kind == 0:
            return content[:at] + content[at + 1 :]
        if kind == 1:
            return content[:at] + content[at : at + 1] + content[at:]
        return [*content[:at], _changed(content[at], draw), *content[at + 1 :]]
    if type(content) is int and draw.random() < 0.5:
        return content + draw.choice((-1, 1, 8, -8, 1 << 20))
    return draw.choice(_ODD)
