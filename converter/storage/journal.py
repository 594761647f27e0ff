"""The journal of an unfinished store: what it holds so far, so that its conversion can go on.

The journal is a file of lines. A line holds the outcome of every patch since the line before, in
the order of the patches: what is known of its record, or why it has none. While records are written
in pages, a line is written after its records. When LMDB writes them, a line is written just before
the commit that stores its records, with the number of that transaction: if the data file has not
reached that number, the line does not count.
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
from patchpress.converter.storage.transactions import Mark
from patchpress.readers.access.extents import UNKNOWN
from patchpress.readers.errors import PatchError, TargetError

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_CHECKED = 9  # bytes at the start of a line: its CRC-32 in hexadecimal, and a space

_NO_RECORD = (0, 0, None, (), "")  # in the places of what is known of a record

Noted = tuple[object, ...]
"""The outcome of one patch as a line has it: a list in JSON."""


class Line(NamedTuple):
    """What was stored since the line before, and how far the data file is after it."""

    boot: str
    """Names the time since the machine was started, as far as the system tells."""
    mark: Mark
    headers: tuple[bytes, ...]
    """The headers of records that no earlier line has."""
    entries: tuple["Entry", ...]

    @property
    def paged(self) -> bool:
        """Whether its records were written in pages, and not committed by LMDB."""
        return not self.mark.transaction


class Entry(NamedTuple):
    """The outcome of one patch."""

    modality: str
    key: str
    result: Encoded | PatchError
    header_number: int
    """Number of its header among all so far; see `readers.access.scan.HeaderList`."""
    identity: str = ""
    """The identity of its row, if the journal keeps it, and if names tell it."""


class Journal:
    """The lines of one store: those that are there, and those still to be written."""

    def __init__(self, path: Path, *, identities: bool = False) -> None:
        """Open it, or make an empty one.

        Lines count up to the first that is cut or changed; `keep` removes the others. With
        `identities` it keeps for each record the row that it belongs to, for a reader who does not
        have the source.

        Raises:
            TargetError: it cannot be read or written.
        """
        self.path, self._identities = path, identities
        self._ends = array("Q", [0])
        self._pending: list[Noted] = []
        with writing(path):
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
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
        """How many lines it has."""
        return len(self._ends) - 1

    def keep(self, count: int) -> None:
        """Remove all but the first `count` lines.

        Raises:
            TargetError: it cannot be written.
        """
        del self._ends[count + 1 :]
        with writing(self.path):
            os.ftruncate(self._file, self._ends[-1])

    @property
    def last(self) -> Line | None:
        """The last line: a conversion goes on after it."""
        if not len(self):
            return None
        with writing(self.path):
            begin, end = self._ends[-2], self._ends[-1]
            text = os.pread(self._file, end - begin, begin)
        return self._line(text, len(self))

    def lines(self) -> Iterator[Line]:
        """Every line from the first.

        Raises:
            TargetError: it cannot be read, or a line says what no conversion writes.
        """
        headers = 0
        with writing(self.path):
            file = self.path.open("rb")
        with file:
            for count in range(1, len(self) + 1):
                with writing(self.path):
                    text = file.readline()
                line = self._line(text, count)
                headers += len(line.headers)
                numbers = [e.header_number for e in line.entries if isinstance(e.result, Encoded)]
                if any(headers <= number < UNKNOWN for number in numbers):
                    raise self._damaged(count, "a record has a header that no line has")
                yield line

    def _line(self, text: bytes, number: int) -> Line:
        try:
            return _parsed(text)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self._damaged(number, f"{type(error).__name__}: {error}") from None

    def _damaged(self, number: int, why: str) -> TargetError:
        return TargetError(
            f"line {number} of {self.path} says what no conversion writes ({why}): give "
            "--overwrite to begin anew"
        )

    def entries(self) -> Iterator[Entry]:
        """The outcome of every patch, in the order of the patches."""
        for line in self.lines():
            yield from line.entries

    def note(self, patch: Patch, record: Encoded, header_number: int) -> None:
        """Note a record for the next line."""
        noted: Noted = (
            *(patch.modality, patch.key, record.length, record.checksum, header_number),
            *(record.ground, record.values),
        )
        # Few patches are of another size, so the line of all others is shorter.
        if self._identities:
            noted = (*noted, record.found_size, patch.identity)
        elif record.found_size:
            noted = (*noted, record.found_size)
        self._pending.append(noted)

    def note_failed(self, patch: Patch, error: PatchError) -> None:
        """Note for the next line that a patch has no record."""
        noted: Noted = (patch.modality, patch.key, str(error))
        if self._identities:
            noted = (*noted, *_NO_RECORD, patch.identity)
        self._pending.append(noted)

    def append_rest(self) -> None:
        """Write a line of what was noted after the last record: patches that have none.

        Raises:
            TargetError: as `append`.
        """
        if self._pending:
            last = self.last
            mark = last.mark._replace(removed=()) if last is not None else Mark()
            self.append(mark)

    def take_noted(self) -> list[Noted]:
        """Remove and return what was noted since the last line, for a line that is written later.

        Give it to `append` then.
        """
        noted, self._pending = self._pending, []
        return noted

    def append(
        self, mark: Mark, headers: Sequence[bytes] = (), noted: list[Noted] | None = None
    ) -> None:
        """Write the next line, with `noted`, or else with all that was noted since the last.

        Raises:
            TargetError: the disk is full; nothing of the line is left.
        """
        content = {
            "boot": boot(),
            "map": mark.map_size,
            "written": mark.written,
            "transaction": mark.transaction,
            "headers": [header.decode("latin-1") for header in headers],
            "entries": self._pending if noted is None else noted,
            "removed": mark.removed,
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


class SortedRecords(NamedTuple):
    """All records that a journal tells of and that were not removed, in the order of their keys.

    Arrays of one length, (records,).
    """

    keys: np.ndarray[Any, np.dtype[np.bytes_]]
    lengths: np.ndarray[Any, np.dtype[np.uint64]]
    """Bytes."""
    checksums: np.ndarray[Any, np.dtype[np.uint64]]
    """XXH3-64."""
    header_numbers: np.ndarray[Any, np.dtype[np.uint16]]
    """As in `Entry`."""


def sorted_records(journal: Journal) -> SortedRecords:
    """The records of a journal, whatever the order of their patches.

    Raises:
        TargetError: it cannot be read.
    """
    removed = {key for line in journal.lines() for key in line.mark.removed}
    keys: list[bytes] = []
    lengths, checksums, header_numbers = array("Q"), array("Q"), array("H")
    for entry in journal.entries():
        if isinstance(entry.result, Encoded) and entry.key not in removed:
            keys.append(entry.key.encode())
            lengths.append(entry.result.length)
            checksums.append(entry.result.checksum)
            header_numbers.append(entry.header_number)
    names = np.array(keys, "S")
    order = np.argsort(names, kind="stable")
    return SortedRecords(
        keys=names[order],
        lengths=np.frombuffer(lengths, np.uint64)[order],
        checksums=np.frombuffer(checksums, np.uint64)[order],
        header_numbers=np.frombuffer(header_numbers, np.uint16)[order],
    )


def has_records(path: Path) -> bool:
    """Whether the journal of a path tells of a record; it is only read.

    Raises:
        TargetError: it cannot be read.
    """
    with writing(path), path.open("rb") as file:
        for text in file:
            if not _is_whole(text):
                return False
            try:
                entries = _parsed(text).entries
            except (KeyError, TypeError, ValueError):
                return True  # it is not known what it tells of
            if any(isinstance(entry.result, Encoded) for entry in entries):
                return True
    return False


def boot() -> str:
    """Names the time since the machine was started; empty if the system has no such name."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def _line(content: bytes) -> bytes:
    return b"%08x %s\n" % (zlib.crc32(content), content)


def _is_whole(text: bytes) -> bool:
    return text == _line(text[_CHECKED:-1])


def _parsed(text: bytes) -> Line:
    """The line of these bytes; KeyError, TypeError or ValueError if `append` does not write it."""
    content: dict[str, Any] = json.loads(text[_CHECKED:])
    mark = Mark(
        written=_count(content, "written"),
        transaction=_count(content, "transaction"),
        map_size=_count(content, "map"),
        removed=tuple(_text(key, "removed") for key in content["removed"]),
    )
    return Line(
        boot=_text(content["boot"], "boot"),
        mark=mark,
        headers=tuple(_text(header, "headers").encode("latin-1") for header in content["headers"]),
        entries=tuple(_entry(*values) for values in content["entries"]),
    )


def _count(content: dict[str, Any], field: str) -> int:
    return _within(content[field], field, 64)


def _within(value: object, field: str, bits: int) -> int:
    """A whole number that fits into so many bits."""
    if type(value) is not int or not 0 <= value < 1 << bits:
        raise ValueError(f"{field} is {value!r}")
    return value


def _text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{field} is {value!r}")
    return value


def _entry(
    modality: str,
    key: str,
    length: int | str,
    checksum: int = 0,
    header_number: int = 0,
    ground: list[Any] | None = None,
    values: Sequence[object] = (),
    found_size: str = "",
    identity: str = "",
) -> Entry:
    """An entry of the values that `note` or `note_failed` gave; then `length` is the error."""
    result: Encoded | PatchError
    if isinstance(length, str):
        result = PatchError(length)
    else:
        result = Encoded(
            length=_within(length, "length", 48),
            checksum=_within(checksum, "checksum", 64),
            ground=_ground(ground) if ground is not None else None,
            values=_tuples(values),
            found_size=_text(found_size, "size"),
        )
        _within(header_number, "header", 16)
        _text(key, "key").encode()
    return Entry(
        modality=_text(modality, "modality"),
        key=_text(key, "key"),
        result=result,
        header_number=header_number,
        identity=_text(identity, "identity"),
    )


def _ground(values: list[Any]) -> Ground:
    ground = Ground(*values)
    for edge in ground[1:]:
        if not isinstance(edge, (int, float)):
            raise TypeError(f"ground is {values!r}")
    if ground.epsg is not None:
        _within(ground.epsg, "epsg", 32)
    return ground


def _tuples(values: Sequence[object]) -> tuple[object, ...]:
    """Values as they were noted: JSON makes lists of tuples."""
    return tuple(_tuples(value) if isinstance(value, list) else value for value in values)
