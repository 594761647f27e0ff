"""What an unfinished store holds so far, a line a commit: how its conversion can go on.

A line is written just before the transaction of LMDB that it tells of, so that the number of
transactions says how many lines count. It holds the outcome of every patch since the line before,
in the order of the patches: what is known of its record, or why there is none.
"""

import json
import os
import zlib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.encoding.tiff import Ground
from patchpress.converter.sources.patch import Patch
from patchpress.converter.storage.folder import writing
from patchpress.readers.errors import PatchError

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_CHECKED = 9  # bytes of CRC-32 in hexadecimal and a space, at the begin of a line


class Line(NamedTuple):
    """What one commit stored, and the writer's state behind it."""

    boot: str
    """Names the time since the machine was started, as far as the system tells."""
    map_size: int
    written: int
    headers: tuple[bytes, ...]
    """Those that came up in this commit."""
    entries: tuple["Entry", ...]
    removed: tuple[str, ...]
    """Keys of records that this commit took out again."""

    @property
    def paged(self) -> bool:
        """Whether it stands behind pages of our own making, and no commit of LMDB."""
        return not self.map_size


class Entry(NamedTuple):
    """The outcome of one patch."""

    modality: str
    key: str
    result: Encoded | PatchError
    form: int
    """Number of the record's header among all so far; see `readers.access.scan.HeaderList`."""


class Journal:
    """The lines of one store: those that are there, and those still to be written."""

    def __init__(self, path: Path) -> None:
        """Open it, or make an empty one.

        Lines count up to the first that is torn or changed; `keep` cuts the others off.

        Raises:
            TargetError: it cannot be read or written.
        """
        self.path = path
        self._ends = array("Q", [0])
        self._pending: list[tuple[object, ...]] = []
        with writing(path):
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o644)
            with path.open("rb") as file:
                for text in file:
                    if not _is_whole(text):
                        break
                    self._ends.append(self._ends[-1] + len(text))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was noted since the last line is lost."""
        os.close(self._file)

    def __len__(self) -> int:
        """How many commits it tells of."""
        return len(self._ends) - 1

    def keep(self, count: int) -> None:
        """Cut off all behind the first `count` lines.

        Raises:
            TargetError: it cannot be written.
        """
        del self._ends[count + 1 :]
        with writing(self.path):
            os.ftruncate(self._file, self._ends[-1])

    @property
    def last(self) -> Line | None:
        """The line behind which a conversion goes on."""
        if not len(self):
            return None
        with writing(self.path):
            begin, end = self._ends[-2], self._ends[-1]
            return _parsed(os.pread(self._file, end - begin, begin))

    def lines(self) -> Iterator[Line]:
        """Every line from the first.

        Raises:
            TargetError: it cannot be read.
        """
        with writing(self.path), self.path.open("rb") as file:
            for _ in range(len(self)):
                yield _parsed(file.readline())

    def entries(self) -> Iterator[Entry]:
        """The outcome of every patch, in the order of the patches."""
        for line in self.lines():
            yield from line.entries

    def note(self, patch: Patch, record: Encoded, form: int) -> None:
        """Note a record for the next line."""
        length, checksum, ground, values = record
        self._pending.append((patch.modality, patch.key, length, checksum, form, ground, values))

    def note_failed(self, patch: Patch, error: PatchError) -> None:
        """Note for the next line that a patch has no record."""
        self._pending.append((patch.modality, patch.key, str(error)))

    def take(self) -> "list[tuple[object, ...]]":
        """What was noted since the last line, for one that is written later."""
        noted, self._pending = self._pending, []
        return noted

    def append(
        self,
        map_size: int,
        written: int,
        headers: Sequence[bytes] = (),
        removed: Sequence[str] = (),
        noted: "list[tuple[object, ...]] | None" = None,
    ) -> None:
        """Write the next line, with what was taken before or else all that was noted since.

        Raises:
            TargetError: the disk is full; nothing of the line is left.
        """
        content = {
            "boot": boot(),
            "map": map_size,
            "written": written,
            "headers": [header.decode("latin-1") for header in headers],
            "entries": self._pending if noted is None else noted,
            "removed": removed,
        }
        text = _line(json.dumps(content, separators=(",", ":")).encode())
        begin = self._ends[-1]
        with writing(self.path):
            try:
                done = 0
                while done < len(text):  # a full disk takes a part, and refuses the rest
                    done += os.write(self._file, text[done:])
            except OSError:
                os.ftruncate(self._file, begin)
                raise
        self._ends.append(begin + len(text))
        if noted is None:
            self._pending = []


class Sorted(NamedTuple):
    """All records that a journal tells of, but for those removed, in the order of their keys."""

    keys: np.ndarray[Any, np.dtype[np.bytes_]]
    lengths: np.ndarray[Any, np.dtype[np.uint64]]
    checksums: np.ndarray[Any, np.dtype[np.uint64]]
    forms: np.ndarray[Any, np.dtype[np.uint16]]


def in_key_order(journal: Journal) -> Sorted:
    """The records of a journal whose patches came in any order.

    Raises:
        TargetError: it cannot be read.
    """
    removed = {key for line in journal.lines() for key in line.removed}
    keys: list[bytes] = []
    lengths, checksums, forms = array("Q"), array("Q"), array("H")
    for entry in journal.entries():
        if isinstance(entry.result, Encoded) and entry.key not in removed:
            keys.append(entry.key.encode())
            lengths.append(entry.result.length)
            checksums.append(entry.result.checksum)
            forms.append(entry.form)
    names = np.array(keys, "S")
    order = np.argsort(names, kind="stable")
    return Sorted(
        names[order],
        np.frombuffer(lengths, np.uint64)[order],
        np.frombuffer(checksums, np.uint64)[order],
        np.frombuffer(forms, np.uint16)[order],
    )


def boot() -> str:
    """What names the time since the machine was started; empty where the system has none."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def _line(content: bytes) -> bytes:
    return b"%08x %s\n" % (zlib.crc32(content), content)


def _is_whole(text: bytes) -> bool:
    return text == _line(text[_CHECKED:-1])


def _parsed(text: bytes) -> Line:
    content: dict[str, Any] = json.loads(text[_CHECKED:])
    return Line(
        content["boot"],
        content["map"],
        content["written"],
        tuple(header.encode("latin-1") for header in content["headers"]),
        tuple(_entry(*values) for values in content["entries"]),
        tuple(content["removed"]),
    )


def _entry(
    modality: str,
    key: str,
    length: int | str,
    checksum: int = 0,
    form: int = 0,
    ground: list[Any] | None = None,
    values: Sequence[object] = (),
) -> Entry:
    if isinstance(length, str):
        return Entry(modality, key, PatchError(length), form)
    covered = Ground(*ground) if ground else None
    return Entry(modality, key, Encoded(length, checksum, covered, _tuples(values)), form)


def _tuples(values: Sequence[object]) -> tuple[object, ...]:
    """Values as they were: JSON makes lists of tuples."""
    return tuple(_tuples(value) if isinstance(value, list) else value for value in values)
