"""The records of a store read back: what the workers found, put together in the order of the keys.

The tree of each data file is checked first, page by page. Then its records are read in the order in
which they lie in the file, by large requests, and the disk is told of those to come.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from patchpress.converter.commands.verify_files import VerifiedFiles
from patchpress.converter.commands.verify_labels import LabelsOfMaps
from patchpress.converter.commands.verify_records import NO_HEADER, CheckedPortion
from patchpress.converter.processes import in_order
from patchpress.converter.progress import Progress
from patchpress.converter.text import first_few, several
from patchpress.readers.access.disk_order import Portion, announce, portions
from patchpress.readers.access.extents_file import read_extents
from patchpress.readers.access.scan import HeaderList
from patchpress.readers.errors import StoreDamaged
from patchpress.readers.format.btree import Value
from patchpress.readers.format.manifest import OTHER_VALUES, ContentDigest
from patchpress.readers.format.shard_rule import shard_of
from patchpress.readers.store import Store

AHEAD = 3  # portions of which the disk is told before one of them is given to a worker
HEADERS_NOTED = 0xFFFF  # different headers that are noted; a store of more is read once more

Check = Callable[[int, list[str], Portion], "Future[CheckedPortion]"]


@dataclass
class _ShardReadBack:
    """What is known of the records of one shard, in the order of their keys."""

    keys: list[str]
    checksums: npt.NDArray[np.uint64]
    header_numbers: npt.NDArray[np.uint16]
    lengths: npt.NDArray[np.int64]
    misplaced: list[str]
    """Keys of records that belong into another shard."""
    read: int = 0
    """How many were read."""
    problems: list[tuple[int, str]] = field(default_factory=list)
    """(position, what is wrong with the record)."""
    damage: str = ""
    """Why the others could not be read; else empty."""


class RecordsReadBack:
    """Reads every record by workers, and compares their numbers with those of the manifest."""

    def __init__(self, store: Store, labels: LabelsOfMaps, files: VerifiedFiles) -> None:
        self.keys: list[str] = []
        """Of all records, if all could be read."""
        self.checksums: list[str] = []
        """XXH3-64 of each of them, 16 hexadecimal digits."""
        self.others: list[bytes] = []
        """Keys of values that are no records, as the manifest says that there are some."""
        self.read = 0
        """How many records were read."""
        self.damage: list[str] = []
        """A sentence for each shard that could not be read to its end."""
        self._store, self._labels = store, labels
        self._others = int(store.manifest.options.get(OTHER_VALUES) or 0)
        self._listed = frozenset(store.keys()) if self._others else frozenset()
        self._counts = dict.fromkeys(store.manifest.modalities, 0)
        self._shards = files
        self._found: list[_ShardReadBack] = []
        self._header_numbers: dict[bytes, int] = {}

    def run(self, check: Check, under_way: int, progress: Progress) -> Iterator[str]:
        """Read all of them; gives a sentence for each that is not as it should be.

        Args:
            check: gives records to a worker.
            under_way: how many tasks are under way at a time at least.
            progress: told of each portion.
        """
        tasks = self._told_ahead()
        given = in_order(tasks, lambda task: check(*task), lambda count: count >= under_way)
        for (number, keys, portion), checked in given:
            shard = self._found[number]
            if not shard.damage:
                self._note(shard, keys, portion, checked)
                progress.advance(len(checked.checksums), portion.nbytes)
        for shard in self._found:
            self.read += shard.read
            for position, problem in sorted(shard.problems):
                yield f"record {shard.keys[position]}: {problem}"
        self.damage = [shard.damage for shard in self._found if shard.damage]
        if not self.damage:
            for shard in self._found:
                self.keys += shard.keys
                self.checksums += [f"{checksum:016x}" for checksum in shard.checksums.tolist()]

    def _told_ahead(self) -> Iterator[tuple[int, list[str], Portion]]:
        """All tasks, of each of which the disk is told some before it is given."""
        told = deque[tuple[int, list[str], Portion]]()
        for number in range(len(self._shards)):
            for keys, portion in self._tasks(number):
                told.append((number, keys, portion))
                if len(told) > AHEAD:
                    yield told.popleft()
        yield from told

    def _tasks(self, number: int) -> Iterator[tuple[list[str], Portion]]:
        """The records of a shard, after its tree was checked; none of one that cannot be read."""
        try:
            opened = self._shards.open(number)
            values = opened.tree.checked_values()
        except StoreDamaged as error:
            self._found.append(_shard_of([], [], [], str(error)))
            return
        keys, records, misplaced = self._keys_of(number, values)
        shard = _shard_of(keys, [value.length for value in records], misplaced)
        self._found.append(shard)
        offsets = np.array([value.offset for value in records], np.int64)
        for portion in portions(offsets, shard.lengths):
            announce(opened.file, portion)
            yield [keys[position] for position in portion.positions.tolist()], portion

    def _keys_of(
        self, number: int, values: Sequence[Value]
    ) -> tuple[list[str], list[Value], list[str]]:
        """The keys of a shard's values that are records, these values, and misplaced keys."""
        keys, records, misplaced = list[str](), list[Value](), list[str]()
        for value in values:
            key = value.key.decode(errors="backslashreplace")
            if self._others and key not in self._listed:
                self.others.append(value.key)
                continue
            if len(self._shards) > 1 and shard_of(key, len(self._shards)) != number:
                misplaced.append(key)
            keys.append(key)
            records.append(value)
        return keys, records, misplaced

    def _note(
        self, shard: _ShardReadBack, keys: list[str], portion: Portion, checked: CheckedPortion
    ) -> None:
        """Put what a worker found where it belongs."""
        count = len(checked.checksums)
        positions = portion.positions[:count]
        shard.read += count
        shard.damage = checked.error
        shard.checksums[positions] = checked.checksums
        numbers = [self._number(header) for header in checked.headers]
        known = np.array([*numbers, NO_HEADER], np.uint16)
        shard.header_numbers[positions] = known[
            np.minimum(checked.header_numbers, len(checked.headers))
        ]
        shard.problems += [(int(positions[i]), problem) for i, problem in checked.problems]
        for name, number in checked.counts.items():
            self._counts[name] += number
        for index, name, labels in checked.labels:
            self._labels.note(keys[index], name, labels)

    def _number(self, header: bytes) -> int:
        if header not in self._header_numbers and len(self._header_numbers) >= HEADERS_NOTED:
            return NO_HEADER
        return self._header_numbers.setdefault(header, len(self._header_numbers))

    def headers(self) -> HeaderList | None:
        """How the records begin, in the order of their keys; None if there are too many ways."""
        if len(self._header_numbers) >= HEADERS_NOTED:
            return None
        found, known = HeaderList(), [*self._header_numbers]
        for shard in self._found:
            numbers, lengths = shard.header_numbers.tolist(), shard.lengths.tolist()
            for number, length in zip(numbers, lengths, strict=True):
                if number == NO_HEADER:
                    found.add_unknown()
                else:
                    found.add(memoryview(known[number]), length)
        return found

    def problems(self) -> list[str]:
        """A sentence for each number that is not the manifest's, after all records."""
        manifest = self._store.manifest
        problems = [
            f"{self._counts[name]:,} {name} records where the manifest counts {modality.records:,}"
            for name, modality in manifest.modalities.items()
            if self._counts[name] != modality.records
        ]
        if len(self.others) != self._others:
            problems.append(
                f"{len(self.others):,} values that are no records where the manifest counts "
                f"{self._others:,}: run `patchpress index {self._store.path}`"
            )
        for entry, shard in zip(manifest.shards, self._found, strict=True):
            if _digest(shard) != entry.digest:
                where = f" of {entry.path}" if len(manifest.shards) > 1 else ""
                problems.append(
                    f"keys and checksums{where} differ from the digest in the manifest: "
                    f"{self._way_out()}"
                )
            if shard.misplaced:
                problems.append(
                    f"{entry.path} has {several(len(shard.misplaced), 'record')} of other shards, "
                    f"by their keys ({first_few(shard.misplaced)}): put the files of the shards "
                    "where they belong, or convert the store again"
                )
        return problems

    def _way_out(self) -> str:
        """What to do about other records than the manifest's."""
        if self._store.url is not None:
            return "copy or send the store there again"
        if self._store.manifest.in_archives:
            return "an archive is damaged, or was changed, so put the one back that was indexed"
        files = [shard.path for shard in self._store.manifest.shards]
        if read_extents(self._store.path, files)[0] is not None:
            # They were made from this very data file: no program has written it since.
            return "the file is damaged, so copy or convert the store again"
        return (
            f"run `patchpress index {self._store.path}` if another program changed them, else copy "
            "or convert the store again"
        )


def _shard_of(
    keys: list[str], lengths: list[int], misplaced: list[str], damage: str = ""
) -> _ShardReadBack:
    """A shard of which no record was read yet."""
    return _ShardReadBack(
        keys=keys,
        checksums=np.zeros(len(keys), np.uint64),
        header_numbers=np.full(len(keys), NO_HEADER, np.uint16),
        lengths=np.array(lengths, np.int64),
        misplaced=misplaced,
        damage=damage,
    )


def _digest(shard: _ShardReadBack) -> str:
    """The digest over the keys and checksums of a shard."""
    digest = ContentDigest()
    for key, checksum in zip(shard.keys, shard.checksums.tolist(), strict=True):
        with suppress(ValueError):  # a key out of order: the digest will differ
            digest.add(key, checksum)
    return digest.text()
