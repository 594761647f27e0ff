"""Packing trees as their publishers do: GNU tar, files sorted by path, no folders, no owner.

What other archives may have can be asked for: another order, parts, a folder above.
"""

import bz2
import gzip
import io
import lzma
import random
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import zstandard

from patchpress.converter.sources import decompress

CODECS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.gz": lambda data: gzip.compress(data, 1, mtime=0),
    "tar.zst": lambda data: zstandard.compress(data, 1),
    "tar.xz": lambda data: lzma.compress(data, preset=0),
    "tar.bz2": lambda data: bz2.compress(data, 1),
}
MTIME = 1_718_000_000
BLOCK, RECORD = 512, 10_240  # bytes of a tar header, and of what an archive is padded to

Order = Callable[[list[str]], Iterable[str]]


def members(root: Path, folder: str) -> list[str]:
    """The paths under `root` of all files in a folder, as `tar --sort=name` has them."""
    paths = [path for path in (root / folder).rglob("*") if path.is_file()]
    return [str(path.relative_to(root)) for path in sorted(paths, key=lambda path: path.parts)]


def entry(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE) -> bytes:
    """One member of an archive: its header, its bytes, and padding to a whole block."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.mtime, info.linkname = len(data), kind, MTIME, ""
    if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info.linkname = "elsewhere"
    return info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % BLOCK)


def entries(root: Path, names: Iterable[str], prefix: str = "") -> list[bytes]:
    """A member for each file; `prefix` is put before its path."""
    return [entry(prefix + name, (root / name).read_bytes()) for name in names]


def ended(parts: Iterable[bytes]) -> bytes:
    """The bytes of an archive: some members and the end of an archive."""
    data = b"".join(parts) + bytes(2 * BLOCK)
    return data + bytes(-len(data) % RECORD)


def write(path: Path, parts: Iterable[bytes]) -> Path:
    """Write an archive of these members, compressed as its name says; gives its path."""
    codec = next(codec for codec in sorted(CODECS, reverse=True) if path.name.endswith(codec))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CODECS[codec](ended(parts)))
    return path


def letters(at: int) -> str:
    """How `split` names a part: aa, ab, …"""
    return f"a{'abcdefgh'[at]}"


def split(path: Path, count: int, ending: Callable[[int], str] = letters) -> list[Path]:
    """Cut a file into so many parts, as `split` names them, and remove it."""
    data = path.read_bytes()
    size = -(-len(data) // count)
    parts = [path.with_name(f"{path.name}{ending(at)}") for at in range(count)]
    for at, part in enumerate(parts):
        part.write_bytes(data[at * size : (at + 1) * size])
    path.unlink()
    return parts


def packed(
    tree: Path,
    out: Path,
    codec: str = "tar.zst",
    *,
    folders: Sequence[str] = (),
    order: Order = list,
    prefix: str = "",
) -> Path:
    """Write an archive for each folder of a tree, and copies of all files; gives `out`.

    With `folders`, only these become archives, and the others are copied.
    """
    for name in copied_around(tree, out, folders):
        write(out / f"{name}.{codec}", entries(tree, order(members(tree, name)), prefix))
    return out


def copied_around(tree: Path, out: Path, folders: Sequence[str]) -> Iterator[str]:
    """Copy the files of a tree, and its folders that are to become no archives; gives the others.

    With `folders`, only these become archives.
    """
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(tree.iterdir()):
        if path.is_file():
            shutil.copyfile(path, out / path.name)
        elif folders and path.name not in folders:
            shutil.copytree(path, out / path.name)
        else:
            yield path.name


def shuffled(names: list[str]) -> list[str]:
    """The files of each patch in a random order; the patches stay in theirs."""
    draw = random.Random(7)  # noqa: S311
    groups = by_folder(names)
    return [name for group in groups for name in draw.sample(group, len(group))]


def interleaved(patches: int) -> Order:
    """Of so many patches the first file of each, then the second, …; then the next patches."""

    def order(names: list[str]) -> list[str]:
        groups = by_folder(names)
        batches = [groups[at : at + patches] for at in range(0, len(groups), patches)]
        turns = [turn for batch in batches for turn in zip_longest(*batch)]
        return [name for turn in turns for name in turn if name is not None]

    return order


def by_folder(names: Iterable[str]) -> list[list[str]]:
    """The names, those of one folder in one list; the folders in the order of their first names."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.rpartition("/")[0], []).append(name)
    return list(groups.values())


def unpacked(path: Path) -> dict[str, bytes]:
    """Every file of an archive without compression, by Python's own reader."""
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as tar:
        files = {member.name: tar.extractfile(member) for member in tar}
        return {name: file.read() for name, file in files.items() if file is not None}


def counted_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by the number of bytes of each read of an archive, in this process."""
    taken: list[int] = []
    read = decompress.JoinedFiles._read

    def counted(parts: decompress.JoinedFiles, buffer: Any) -> int:
        taken.append(read(parts, buffer))
        return taken[-1]

    monkeypatch.setattr(decompress.JoinedFiles, "_read", counted)
    return taken
