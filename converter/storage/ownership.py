"""Whether the files in a folder are those of a store, so that a conversion may replace them.

What may be lost must be known: a manifest that parses lists its files, and each must be as it says;
of an unfinished store the marker or the journal shows that a conversion began it.
"""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patchpress.readers.access.extents import read_extents
from patchpress.readers.access.files import open_file
from patchpress.readers.errors import StatisticsStale, StoreError, TargetError
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.manifest import (
    DATA,
    EXTENTS,
    FORMAT,
    JOURNAL,
    MANIFEST,
    MARKER,
    METADATA,
    STATISTICS,
    Manifest,
    file_digest,
    from_bytes,
)
from patchpress.readers.format.whole_file import name_when_whole

LOCK = "lock.mdb"
ASIDE = f"{DATA}.pages"
"""The data file in pages, if LMDB cannot read it, until LMDB has written its records again."""
PROBE = "probe.mdb"
"""A small data file that shows whether LMDB reads here what is written in pages."""
OWN_FILES = (MANIFEST, METADATA, DATA, ASIDE, PROBE, LOCK, MARKER, JOURNAL, EXTENTS, STATISTICS)
VERSION = "patchpress"
"""The setting that is the version of this package. The marker begins with it, whatever follows."""
MARKER_BEGIN = f'{{\n "{VERSION}": "'.encode()
CHANGED = "changed"
"""The option of a manifest whose data file has records that another program wrote."""
_NO_JOURNAL_LINE = 10  # bytes: fewer than the checksum of a line


def own_files(store: Path) -> list[str]:
    """The names of the files of a store that are in its folder, also half-written ones.

    Raises:
        TargetError: there is something else, or a link in the place of one of them.
    """
    names = sorted(os.listdir(store))
    for name in names:
        if not {name, name_when_whole(name)} & set(OWN_FILES):
            raise other_things(store, name)
        mode = (store / name).lstat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a link" if stat.S_ISLNK(mode) else "no file"
            raise TargetError(
                f"{store / name} is {kind}, and a store has plain files: remove it, or choose "
                "another place"
            )
    return names


def manifest_in(store: Path) -> Manifest | None:
    """The manifest of a finished store; None if there is none, or a file of another program.

    Raises:
        TargetError: it is one of this package, but cannot be read.
    """
    try:
        content = (store / MANIFEST).read_bytes()
    except FileNotFoundError:
        return None
    try:
        return from_bytes(content, str(store / MANIFEST))
    except StoreError as error:
        if f'"{FORMAT}"'.encode() not in content[:100]:
            return None
        raise TargetError(
            f"what {store} holds is not known, as its manifest cannot be read ({error}): remove "
            "the folder yourself, or choose another place"
        ) from None


def is_begun(store: Path) -> bool:
    """Whether a conversion began the unfinished store in a folder."""
    try:
        with (store / MARKER).open("rb") as marker:
            if marker.read(len(MARKER_BEGIN)) == MARKER_BEGIN:
                return True
    except FileNotFoundError:
        pass
    # The system went down before the marker was on the disk, but the journal was.
    try:
        with (store / JOURNAL).open("rb") as journal:
            line = journal.readline()
    except FileNotFoundError:
        return False
    return _is_journal_line(line)


def _is_journal_line(line: bytes) -> bool:
    if len(line) < _NO_JOURNAL_LINE:
        return False
    try:
        content = json.loads(line[_NO_JOURNAL_LINE - 1 :])
    except ValueError:
        return False
    return isinstance(content, Mapping) and {"boot", "written", "entries"} <= content.keys()


def is_of_another_program(manifest: Manifest) -> bool:
    """Whether some of a store's records were written by another program."""
    return bool({"adopted", CHANGED} & set(manifest.options))


def require_replaceable(store: Path, manifest: Manifest) -> None:
    """Make sure that every file of a finished store is as its manifest says, before it is removed.

    Raises:
        TargetError: one is not, or the records are another program's.
    """
    if is_of_another_program(manifest):
        raise TargetError(
            f"{store} has records that another program wrote, and may be their only place, so that "
            "it is never replaced: choose another place, or remove it yourself"
        )
    differs = _difference(store, manifest)
    if differs:
        raise TargetError(
            f"{store / differs} is not the file that belongs to its manifest, so that it is not "
            f"replaced: run `patchpress index {store}` if a program changed it, remove the folder "
            "yourself, or choose another place"
        )


def _difference(store: Path, manifest: Manifest) -> str:
    """The name of a file that is not as the manifest says; empty if all are."""
    for shard in manifest.shards:
        path = store / shard.path
        if path.exists() and path.stat().st_size != shard.bytes:
            return shard.path
    if DATA not in {shard.path for shard in manifest.shards} and (store / DATA).exists():
        return DATA
    if (store / METADATA).exists() and file_digest(store / METADATA) != manifest.metadata_digest:
        return METADATA
    if (store / EXTENTS).exists():
        try:
            extents, _ = read_extents(store, [shard.path for shard in manifest.shards])
        except StoreError:
            extents = None
        if extents is None:
            return EXTENTS
    return STATISTICS if not _are_statistics(store, manifest) else ""


def _are_statistics(store: Path, manifest: Manifest) -> bool:
    from patchpress.readers.statistics_file import from_bytes as statistics_from_bytes

    path = store / STATISTICS
    try:
        statistics_from_bytes(path.read_bytes(), manifest, path, "")
    except (FileNotFoundError, StatisticsStale):
        return True
    except (OSError, StoreError):
        return False
    return True


def require_known_records(store: Path) -> None:
    """Make sure that a journal tells of the records of an unfinished store, before it is removed.

    Raises:
        TargetError: there are records, and no journal: somebody else may have put them there.
    """
    try:
        journal = (store / JOURNAL).stat().st_size
    except FileNotFoundError:
        journal = 0
    if journal or not (store / DATA).exists():
        return
    try:
        file = open_file(store / DATA)
        records = Tree(file.bytes, file.path).entries if file.size else 0
    except StoreError:
        return  # no whole data file: a conversion was killed before it was one
    if records:
        raise TargetError(
            f"{store / DATA} has {records:,} records that no conversion has noted in {JOURNAL}: "
            "move it away, or remove the folder yourself"
        )


def parsed_settings(marker: bytes) -> dict[str, Any] | None:
    """The settings in a marker; None if it is cut, or has no more than its beginning."""
    try:
        settings = json.loads(marker)
    except ValueError:
        return None
    return settings if isinstance(settings, dict) and "dataset" in settings else None


def other_things(store: Path, name: str) -> TargetError:
    """The error about a folder with something in it that no conversion has made."""
    return TargetError(
        f"{store} is a folder with other things in it ({name}): choose a new or empty one"
    )
