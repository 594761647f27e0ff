"""What a dry run finds: the patches of a source, counted, named as far as possible, and sampled."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from patchpress.converter.encoding.columnreader import ColumnReader
from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.options import OnError
from patchpress.converter.planning.request import Request
from patchpress.converter.planning.sample import (
    HEAD_BYTES,
    MEMORY,
    SAMPLE,
    SECONDS,
    EvenSample,
    read_beginning,
)
from patchpress.converter.planning.selection import (
    Selection,
    Wanted,
    names_of,
    select,
    with_partners,
)
from patchpress.converter.sources.archives import ArchiveStream, StreamOptions, files_size
from patchpress.converter.sources.files import open_files
from patchpress.converter.sources.locate import Location
from patchpress.converter.sources.order import streams_of
from patchpress.converter.sources.patch import Patch, ignore_problem
from patchpress.converter.tables.listed_patches import ListedPatches
from patchpress.converter.tables.official import Tables
from patchpress.converter.tables.recordlog import RecordLog
from patchpress.readers.errors import PatchError

SIDECARS = 1000  # JSON files that are read where only they tell the row of a patch
FIRST_FEW = 1000  # patches whose names are looked up in archives where only the first are wanted


@dataclass
class Survey:
    """The patches of a source, as far as is known without reading it all."""

    chosen: Selection
    logs: dict[str, RecordLog]
    """Modality -> its patches by name, where all are known, or some that stand for all."""
    samples: dict[str, EvenSample]
    counts: dict[str, float | None] = field(default_factory=dict)
    """Modality -> how many patches, None where only the end of an archive tells."""
    about: set[str] = field(default_factory=set)
    """Modalities whose number is estimated, and whose names are unknown."""
    listed: set[str] = field(default_factory=set)
    """Modalities of which a table tells the names."""
    share: dict[str, float] = field(default_factory=dict)
    """Modality -> share of its patches that the log stands for, where that is not all."""
    skipped: list[str] = field(default_factory=list)
    reading: float = 0.0
    """Seconds that reading the archives takes."""


def survey_source(request: Request, tables: Tables | None) -> Survey:
    """Walk the folders as a conversion does; of archives read the beginning at most.

    Raises:
        SourceError, PatchError, TableError: as `select`, and as the beginning of an archive.
    """
    return _Surveyor(request, tables).gathered()


class _Surveyor:
    def __init__(self, request: Request, tables: Tables | None) -> None:
        self._request, self._tables = request, tables
        self._description, self._parts = request.description, request.parts
        self._packed = self._parts.packed
        each = SAMPLE // len(self._parts.modalities)
        self._samples = {
            name: EvenSample(self._most(name, each)) for name in self._parts.modalities
        }
        self._logs = request.logs()
        self._unread = {
            name: EvenSample(SIDECARS) for name in self._logs if self._asks_sidecar(name)
        }
        self._listed = ListedPatches(self._description, tables, self._parts.files)
        self._by_tables = {name for name in self._packed if self._listed.has(name)}
        # Where a modality has no columns, all that is known of its records beside their names.
        self._bare = {n: Encoded(0, 0, None) for n, log in self._logs.items() if not log.columns}
        self._skipped: list[str] = []

    def _most(self, name: str, each: int) -> int:
        """How many patches are a sample; those out of archives lie in memory."""
        if name not in self._packed:
            return each
        # Twice as many are kept meanwhile.
        room = MEMORY // (2 * len(self._packed) * files_size(self._description.modalities[name]))
        return min(each, room)

    def _asks_sidecar(self, name: str) -> bool:
        """Whether only a JSON file beside each patch tells its row."""
        modality = self._description.modalities[name]
        told = modality.sidecar and self._description.identity in modality.sidecar.columns
        return bool(told) and not modality.identity and "pairs" not in self._parts.files

    def gathered(self) -> Survey:
        """Walk, look up and read."""
        wanted = self._wanted()
        folders = {
            name: Location(location.folder)
            for name, location in self._parts.modalities.items()
            if location.folder is not None and name not in self._by_tables
        }
        # What lacks where there are archives only their end tells.
        complete = self._description.complete and not self._packed
        chosen = select(
            replace(self._description, complete=complete),
            self._parts._replace(modalities=folders),
            *(wanted, self._problem),
            note=self._note,
        )
        found = Survey(chosen, self._logs, self._samples, skipped=self._skipped)
        limit = self._request.options.limit
        if limit is not None and wanted is None:  # so many are wanted, but who knows which
            chosen.counts = {name: min(n, limit) for name, n in chosen.counts.items()}
            found.about.update(chosen.counts)
        found.counts.update({name: chosen.counts.get(name, 0) for name in self._parts.modalities})
        chosen.streams = self._streams()
        for stream in chosen.streams:
            self._read(stream, found)
        for name in self._by_tables:
            found.counts[name] = self._look_up(name, wanted)
            found.listed.add(name)
        for name, spread in self._unread.items():
            if spread.seen and name not in found.about:
                read = sum(self._read_sidecar(patch) for patch in spread.patches())
                if read < spread.seen:
                    found.share[name] = read / spread.seen
        if chosen.incomplete:
            for log in found.logs.values():
                log.remove_rows(chosen.incomplete)
        return found

    def _look_up(self, name: str, wanted: Wanted | None) -> int:
        """Note the patches that tables name, and count them."""
        count = 0
        for patch in self._listed.patches(name):
            if wanted is None or wanted.has(patch):
                self._name(patch)
                count += 1
        return count

    def _wanted(self) -> Wanted | None:
        """The first few, where only these are asked for and their names can be looked up.

        Where they cannot, the numbers are cut, and no names are known.
        """
        limit = self._request.options.limit
        if limit is None:
            return None
        first = {name: islice(self._first(name), limit) for name in self._parts.modalities}
        primary = self._description.primary.name
        asked = primary if primary in first else next(iter(first))
        if asked not in self._by_tables and not self._is_quick(asked, limit):
            return None
        return with_partners(self._description, first, self._tables)

    def _first(self, name: str) -> Iterable[Patch]:
        if self._is_quick(name, self._request.options.limit or 0):
            return names_of(self._description, self._parts, name)
        return self._listed.patches(name) if name in self._by_tables else ()

    def _is_quick(self, name: str, limit: int) -> bool:
        """Whether the names of the first patches can be read where the patches are."""
        archives = self._parts.modalities[name].archives
        size = sum(archive.size for archive in archives)
        return not archives or limit <= FIRST_FEW or size <= HEAD_BYTES

    def _is_blind(self, name: str, wanted: Wanted) -> bool:
        """Whether it is not known which are wanted, as no names were looked up for it."""
        limit = self._request.options.limit or 0
        looked_up = name in self._by_tables or self._is_quick(name, limit)
        return name in wanted.names and not looked_up

    def _streams(self) -> list[ArchiveStream]:
        packed = {
            name: location._replace(folder=None)
            for name, location in self._parts.modalities.items()
            if location.archives
        }
        parts = self._parts._replace(modalities=packed)
        return streams_of(
            self._description, parts, ignore_problem, StreamOptions(lambda patch: True)
        )

    def _read(self, stream: ArchiveStream, found: Survey) -> None:
        """Read the beginning of archives: for a sample, and for counts where no table has them."""
        names = [modality.name for modality in stream.modalities]
        unknown = [name for name in names if name not in self._by_tables]
        wanted, limit = found.chosen.wanted, self._request.options.limit
        if wanted is not None and any(self._is_blind(name, wanted) for name in names):
            wanted = None
        most = dict.fromkeys(names, limit) if limit is not None else {}
        most |= wanted.most(names) if wanted is not None else {}
        come, seen = Counter[str](), list[Patch]()

        def tell(patch: Patch) -> None:
            self._samples[patch.modality].add(patch)
            if wanted is not None and not wanted.has(patch):
                return
            come[patch.modality] += 1
            if patch.modality in unknown:
                self._note_name(patch)
            else:
                seen.append(patch._replace(archived=None))

        def all_came() -> bool:
            return wanted is not None and all(come[name] >= most[name] for name in unknown)

        def enough() -> bool:
            sampled = all(self._samples[name].full for name in names)
            return stream.consumed >= HEAD_BYTES or (sampled and (all_came() or not unknown))

        head = read_beginning(stream, tell, SECONDS / len(found.chosen.streams), enough)
        if head.whole:  # then it tells more than a table
            unknown, self._by_tables = names, self._by_tables - {*names}
            for patch in seen:
                self._name(patch)
        known = all_came() or (head.whole and (limit is None or wanted is not None))
        for name in unknown:
            count: float | None = come[name] if known else head.counts.get(name)
            if count is not None and name in most:
                count = min(count, most[name])
            before = found.counts[name] or 0
            found.counts[name] = None if count is None else before + count
            if not known:
                found.about.add(name)
        share = min(1.0, sum(most.values()) / (sum(head.counts.values()) or 1)) if most else 1.0
        found.reading += head.pace * (stream.consumed if head.whole else stream.size * share)

    def _problem(self, error: PatchError) -> None:
        if self._request.options.on_error is OnError.stop:
            raise error
        self._skipped.append(str(error))

    def _note(self, patch: Patch) -> None:
        self._samples[patch.modality].add(patch)
        self._note_name(patch)

    def _note_name(self, patch: Patch) -> None:
        if patch.modality not in self._unread:
            self._name(patch)
        elif patch.archived is None:
            self._unread[patch.modality].add(patch)
        else:
            self._read_sidecar(patch)  # as long as it is in memory

    def _name(self, patch: Patch, told: Mapping[str, object] | None = None) -> None:
        """Note a patch as if its record were stored; what its files say stays open."""
        log, bare = self._logs[patch.modality], self._bare.get(patch.modality)
        if bare is not None:
            log.add(patch, bare)
            return
        values: dict[str, object] = dict.fromkeys(log.columns)
        if self._description.identity in values:
            values[self._description.identity] = ""  # then a table tells the row, or nothing
        columns = self._description.modalities[patch.modality].columns
        values.update(zip(columns, patch.values, strict=True))
        values.update(told or {})
        log.add(patch, Encoded(0, 0, None, tuple(values.values())))

    def _read_sidecar(self, patch: Patch) -> bool:
        """Note a patch with what its JSON file says; whether that can be read."""
        modality = self._description.modalities[patch.modality]
        try:
            folder = open_files(patch.folder, patch.archived)
            try:
                given = ColumnReader(modality, ()).read_sidecar(patch, folder)
            finally:
                folder.close()
        except PatchError:
            return False  # a conversion says it when it comes there
        columns = modality.sidecar.columns if modality.sidecar else ()
        self._name(patch, dict(zip(columns, given, strict=True)))
        return True
