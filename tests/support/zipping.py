"""Packing trees into zip archives, as publishers do and as nobody should."""

import io
import random
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.packing import Order, copied_around, members

METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflate": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}
_END = struct.Struct("<4s4H2LH")


def scattered(names: Sequence[str]) -> list[str]:
    """The names in an order that has nothing to do with patches."""
    return random.Random(7).sample(names, len(names))  # noqa: S311


def zipped(
    tree: Path,
    out: Path,
    method: str = "stored",
    *,
    folders: Sequence[str] = (),
    order: Order = list,
    prefix: str = "",
) -> Path:
    """Write a zip for each folder of a tree, and copies of all files; gives `out`.

    With `folders`, only these become archives, and the others are copied.
    """
    for folder in copied_around(tree, out, folders):
        with zipfile.ZipFile(out / f"{folder}.zip", "w", METHODS[method]) as archive:
            for name in order(members(tree, folder)):
                archive.writestr(prefix + name, (tree / name).read_bytes())
    return out


def zip_of(files: dict[str, bytes], comment: bytes = b"", method: str = "stored") -> bytearray:
    """The bytes of an archive of these files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", METHODS[method]) as archive:
        archive.comment = comment
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), data, METHODS[method])
    return bytearray(out.getvalue())


def entry_at(data: bytes | bytearray, name: str) -> int:
    """Where the entry of a file begins in the directory of an archive."""
    *_, size, start, _ = _END.unpack_from(data, data.rfind(b"PK\5\6"))
    at = int(start)
    while at < start + size:
        lengths = struct.unpack_from("<3H", data, at + 28)
        if bytes(data[at + 46 : at + 46 + lengths[0]]).decode("cp437") == name:
            return at
        at += 46 + sum(lengths)
    raise KeyError(name)


def patched(
    data: bytes | bytearray, name: str, at: int, form: str, value: int, *, local: int | None = None
) -> bytearray:
    """An archive with another number in the entry of a file, and in its local header if asked."""
    changed = bytearray(data)
    entry = entry_at(changed, name)
    if local is not None:
        header = int.from_bytes(changed[entry + 42 : entry + 46], "little")
        struct.pack_into(form, changed, header + local, value)
    struct.pack_into(form, changed, entry + at, value)
    return changed
