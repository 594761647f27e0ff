"""Tables and lists that lie in zip archives of the source: each is copied out before it is read.

They are small, and what reads them needs a file. The copies lie in a folder that goes with the
process.
"""

import atexit
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from patchpress.converter.sources.file_patterns import is_pattern, path_form
from patchpress.converter.sources.folders import entries
from patchpress.converter.sources.passed_over import has_hidden_part
from patchpress.converter.sources.zip_bytes import ZipBytes
from patchpress.converter.sources.zip_directory import ENCRYPTED, ZipDirectory
from patchpress.converter.sources.zip_end import zip_end
from patchpress.converter.sources.zip_files import ZippedArchive, ZippedFiles
from patchpress.converter.sources.zip_methods import READ
from patchpress.converter.sources.zip_opened import zip_directory
from patchpress.converter.text import size
from patchpress.readers.errors import PatchError, PatchpressError, SourceError

_MOST_FILES = 200_000  # of an archive that is looked through for tables
_MOST_BYTES = 1 << 30  # of a table
_FIELD = re.compile(r"\{\w+\}|\*")  # what may be anything in the path of a table


class ZippedTable(NamedTuple):
    """A table or list in an archive."""

    archive: Path
    inner: str
    """Its path as the description has it, in which fields have values."""
    member: str
    """Its path in the archive."""
    number: int
    """Of the file in the directory."""


class TablesInZips(NamedTuple):
    """The tables of a description that lie in archives."""

    files: dict[str, Path]
    """Tables, or each file of a table of several as ``NAME/PATH``: where their copies are."""
    archives: dict[str, Path]
    """Of each, the archive in which it lies."""
    names: frozenset[str]
    """The tables that were found."""
    notes: list[str]
    """A sentence for each of them."""


def tables_in_zips(source: Path, files: Mapping[str, str]) -> TablesInZips:
    """Find tables in the zip archives of a source, and copy them out.

    Args:
        source: the folder with the archives.
        files: table -> its path, as the description has it.

    Raises:
        SourceError: one is damaged, encrypted, or far too large.
    """
    found = TablesInZips({}, {}, frozenset(), [])
    zipped, names = ZippedTables(source), set()
    for name, file in files.items():
        tables = zipped.find(file)
        if not tables:
            continue
        names.add(name)
        several = is_pattern(file)
        for inner, table in list(tables.items())[: None if several else 1]:
            part = f"{name}/{inner}" if several else name
            found.files[part] = zipped.copied(table)
            found.archives[part] = table.archive
        first = next(iter(tables.values()))
        more = f" and {len(tables) - 1} more" if several and len(tables) > 1 else ""
        found.notes.append(f"{name} is read out of {first.archive}/{first.member}{more}")
    return found._replace(names=frozenset(names))


class ZippedTables:
    """Finds tables in the zip archives of a source; these are opened when one is looked for."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._directories: dict[Path, ZipDirectory] | None = None

    def find(self, file: str) -> dict[str, ZippedTable]:
        """The tables that the path of a table in a description means, by their own paths.

        What lies above in the archive may be anything, and the folder that is called as the archive
        may be lacking.
        """
        form = re.compile(f"(?:.*/)?({path_form(file)})")
        last = re.compile(f"(?:.*/)?{path_form(file.rpartition('/')[2])}")
        literal = max(_FIELD.split(file.rpartition("/")[2]), key=len)
        found: dict[str, ZippedTable] = {}
        for path, directory in self._opened().items():
            if not directory.may_have(literal):
                continue
            for number, member in _files(directory):
                if last.fullmatch(member) is None or has_hidden_part(member):
                    continue
                match = form.fullmatch(member) or form.fullmatch(f"{path.stem}/{member}")
                if match is not None:
                    found.setdefault(match[1], ZippedTable(path, match[1], member, number))
        return dict(sorted(found.items()))

    def copied(self, table: ZippedTable) -> Path:
        """A copy of a table, whose path ends with those of the archive and in it.

        Raises:
            SourceError: it is damaged, encrypted, or far too large.
        """
        directory = self._opened()[table.archive]
        place = directory.places[table.number : table.number + 1]
        path = f"{table.archive}/{table.member}"
        if directory.flags[table.number] & ENCRYPTED or place["method"][0] not in READ:
            raise SourceError(
                f"{path} is encrypted, or packed in a way that is not read: unpack it"
            )
        if place["size"][0] > _MOST_BYTES:
            nbytes = size(int(place["size"][0]))
            raise SourceError(f"{path} has {nbytes}, too much to be copied out: unpack it")
        archive = ZippedArchive(directory.files, directory.identity)
        folder, _, name = table.member.rpartition("/")
        files = ZippedFiles(archive, (name,), place.tobytes())
        try:
            data = files.open(f"{table.archive}/{folder}".rstrip("/"), None).read(name)
        except PatchError as error:
            raise SourceError(f"{error}; download it again") from None
        copy = _copies() / table.archive.name / table.member
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(data)
        return copy

    def _opened(self) -> dict[Path, ZipDirectory]:
        """The zip archives of the source that are whole and not too large."""
        if self._directories is None:
            self._directories = {}
            for name in entries(self._source):
                path = self._source / name
                if path.suffix == ".zip" and path.is_file():
                    try:
                        if zip_end(ZipBytes([str(path)])).entries <= _MOST_FILES:
                            self._directories[path] = zip_directory([str(path)])
                    except PatchpressError:
                        continue  # who reads patches of it says what is wrong
        return self._directories


def _files(directory: ZipDirectory) -> Iterator[tuple[int, str]]:
    """The number and the path of each file."""
    for folder in directory.folders():
        for number, name in enumerate(folder.names, folder.start):
            yield number, f"{folder.path}/{name}" if folder.path else name


@lru_cache(maxsize=1)
def _copies() -> Path:
    """The folder of the copies, which is removed at the end of the process."""
    folder = Path(tempfile.mkdtemp(prefix="patchpress-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
