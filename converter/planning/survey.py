"""What a dry run finds out about a source: how many patches it has, which ones, and a sample."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from patchpress.converter.options import OnError
from patchpress.converter.planning.beginning import BEGINNING, BeginningEstimate, read_beginning
from patchpress.converter.planning.limited_patches import (
    LimitedPatches,
    are_spread,
    limited,
    patches_without_files,
    with_partners,
)
from patchpress.converter.planning.namelog import NameLog
from patchpress.converter.planning.repeats import Repeats
from patchpress.converter.planning.request import ConversionRequest
from patchpress.converter.planning.sample import MEMORY, SAMPLE, SECONDS, EvenSample
from patchpress.converter.planning.selection import Selection, select_patches
from patchpress.converter.sources.archives import ArchiveStream, StreamOptions
from patchpress.converter.sources.files import usual_files_size
from patchpress.converter.sources.order import streams_of
from patchpress.converter.sources.patch import Patch, ignore_problem, stopping
from patchpress.converter.sources.places import Places
from patchpress.converter.tables.listed_patches import ListedPatches
from patchpress.converter.tables.official import Tables
from patchpress.converter.tables.recordlog import RecordLog
from patchpress.readers.errors import PatchError

FIRST_FEW = 1000  # patches whose names are looked up in large archives, from their beginning

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Survey:
    """The patches of a source, as far as they are known without reading it all."""

    chosen: Selection
    logs: Mapping[str, RecordLog]
    """Modality -> its patches by name: all of them, or some that stand for all (`log_shares`)."""
    samples: Mapping[str, EvenSample]
    counts: Mapping[str, float | None]
    """Modality -> how many patches; None if only the end of an archive tells."""
    estimated: frozenset[str]
    """Modalities whose number is estimated, and whose names are unknown."""
    from_tables: frozenset[str]
    """Modalities whose names come from a table."""
    log_shares: Mapping[str, float]
    """Modality -> share of its patches that its log has, if the log does not have them all."""
    skipped: list[str]
    """A sentence for each patch that a conversion would leave out, as far as that is known."""
    defects: list[str]
    """A sentence for each patch that is left out for a known defect, as far as it was met."""
    archive_seconds: float
    """Seconds that reading the archives takes."""


def survey_source(request: ConversionRequest, tables: Tables | None) -> Survey:
    """Walk the folders as a conversion does; of archives read the beginning at most.

    Raises:
        SourceError, PatchError, TableError: as `select_patches` and `read_beginning`.
    """
    return _Surveyor(request, tables).survey()


class _Surveyor:
    """Finds out about one source; what it has found so far."""

    def __init__(self, request: ConversionRequest, tables: Tables | None) -> None:
        self._request, self._tables = request, tables
        self._description, self._parts = request.description, request.parts
        self._limit = request.options.limit
        self._names = NameLog(request, self._on_problem)
        self._samples = {
            name: EvenSample(self._sample_size(name)) for name in self._parts.modalities
        }
        self._listed = ListedPatches(self._description, tables, self._parts.files)
        self._by_tables = {name for name in self._parts.packed if self._listed.has(name)}
        self._counts: dict[str, float | None] = dict.fromkeys(self._parts.modalities, 0)
        self._estimated: set[str] = set()
        self._skipped: list[str] = []
        self._defects = request.known_defects()
        self._archive_seconds = 0.0
        self._repeats = Repeats()
        self._twice: list[Patch] = []  # those that were met and not told of yet

    def _sample_size(self, name: str) -> int:
        """How many patches of a modality are a sample; those out of archives lie in memory."""
        each = SAMPLE // len(self._parts.modalities)
        packed = self._parts.packed
        if name not in packed:
            return each
        # A sample holds twice as many patches while it sees them.
        room = MEMORY // (2 * len(packed) * usual_files_size(self._description.modalities[name]))
        return min(each, room)

    def survey(self) -> Survey:
        """Walk the folders, read the beginning of archives, and look up the names in tables."""
        wanted = self._limited_patches()
        walked = self._walk_folders(wanted)
        chosen = replace(walked, streams=self._archive_streams())
        for stream in chosen.streams:
            self._read_beginning(stream, wanted, SECONDS / len(chosen.streams))
            self._tell_twice(chosen, [stream])
        for name in self._by_tables:
            self._counts[name] = self._look_up(name, wanted)
            _log.info("%s: %s patches, counted in the tables", name, self._counts[name])
        known = set(self._parts.modalities) - self._estimated
        log_shares = self._names.read_sidecars(known)
        self._names.remove_rows(chosen.incomplete)
        return Survey(
            chosen=chosen,
            logs=self._names.logs,
            samples=self._samples,
            counts=self._counts,
            estimated=frozenset(self._estimated),
            from_tables=frozenset(self._by_tables),
            log_shares=log_shares,
            skipped=self._skipped,
            defects=self._defects.met(),
            archive_seconds=self._archive_seconds,
        )

    def _limited_patches(self) -> LimitedPatches | None:
        """The few patches that a limit takes, if their names can be looked up.

        If they cannot, the numbers of patches are cut, and no names are known.
        """
        if self._limit is None:
            return None
        primary = self._description.primary.name
        leading = primary if primary in self._parts.modalities else next(iter(self._counts))
        if leading not in self._by_tables and not self._reads_names_quickly(leading):
            return None
        is_spread = are_spread(self._parts)
        names = {
            name: limited(self._names_of(name), self._limit, is_spread=is_spread)
            for name in self._counts
        }
        return with_partners(self._description, names, self._tables)

    def _names_of(self, name: str) -> Iterable[Patch]:
        """The patches of a modality by name, none if that takes long and no table has them."""
        if self._reads_names_quickly(name):
            return patches_without_files(self._description, self._parts, name)
        return self._listed.patches(name) if name in self._by_tables else ()

    def _reads_names_quickly(self, name: str) -> bool:
        """Whether names are read from the folder, or quickly enough from the archives."""
        archives = self._parts.modalities[name].archives
        return not archives or (self._limit or 0) <= FIRST_FEW or are_spread(self._parts)

    def _walk_folders(self, wanted: LimitedPatches | None) -> Selection:
        """Count and note the patches of the folders that no table names."""
        folders = {
            name: location._replace(archives=())
            for name, location in self._parts.modalities.items()
            if location.is_walked and name not in self._by_tables
        }
        # If there are archives, only their end tells which patches are incomplete.
        complete = self._description.complete and not self._parts.packed
        chosen = select_patches(
            replace(self._description, complete=complete),
            self._parts._replace(modalities=folders),
            wanted,
            self._on_problem,
            on_patch=self._note,
            defects=self._defects,
        )
        if self._limit is not None and wanted is None:  # so many, but who knows which
            cut = {name: min(count, self._limit) for name, count in chosen.counts.items()}
            chosen = replace(chosen, counts=cut)
            self._estimated.update(cut)
        counts = Counter(chosen.counts)
        counts.subtract(patch.modality for patch in self._twice)
        chosen = replace(chosen, counts=dict(counts))
        self._tell_twice(chosen, ())
        self._counts.update(chosen.counts)
        return chosen

    def _tell_twice(self, chosen: Selection, streams: Sequence[ArchiveStream]) -> None:
        """Tell of the patches that came twice, with both places."""
        places = Places(chosen.walks, streams)
        twice, self._twice = self._twice, []
        for patch in twice:
            self._on_problem(places.twice(patch))

    def _note(self, patch: Patch) -> None:
        if self._repeats.add(patch):
            self._twice.append(patch)
            return
        self._samples[patch.modality].add(patch)
        self._names.add(patch)

    def _is_twice(self, patch: Patch) -> bool:
        """Note a patch out of an archive; gives whether it came before."""
        is_twice = self._repeats.add(patch)
        if is_twice:
            self._twice.append(patch.with_archived(None))
        return is_twice

    def _on_problem(self, error: PatchError) -> None:
        if self._request.options.on_error is OnError.stop:
            raise stopping(error)
        self._skipped.append(str(error))

    def _archive_streams(self) -> list[ArchiveStream]:
        packed = {
            name: location._replace(folder=None, zips=())
            for name, location in self._parts.modalities.items()
            if location.archives
        }
        parts = self._parts._replace(modalities=packed)
        options = StreamOptions(takes=self._defects.takes)
        return streams_of(self._description, parts, ignore_problem, options)

    def _read_beginning(
        self, stream: ArchiveStream, wanted: LimitedPatches | None, seconds: float
    ) -> None:
        """Read the beginning of archives: for a sample, and for counts that no table has."""
        names = [modality.name for modality in stream.modalities]
        if wanted is not None and any(self._lacks_names(wanted, name) for name in names):
            wanted = None
        visitor = _BeginningVisitor(
            wanted=wanted,
            samples={name: self._samples[name] for name in names},
            names=self._names,
            uncounted={name for name in names if name not in self._by_tables},
            is_twice=self._is_twice,
        )
        found = read_beginning(stream, visitor, seconds)
        if found.is_whole:  # then it tells more than a table
            self._by_tables -= set(names)
            visitor.count_all()
        limits: Mapping[str, int] = {}
        if wanted is not None:
            limits = wanted.counts(names)
        elif self._limit is not None:
            limits = dict.fromkeys(names, self._limit)
        self._add_counts(visitor, found, limits)
        _log.info(
            "%s: read %s of %s bytes of their archives, for counts that are %s",
            ", ".join(names),
            stream.consumed,
            stream.size,
            "exact" if found.is_whole else "estimated",
        )
        share = 1.0
        if limits:
            share = min(1.0, sum(limits.values()) / (sum(found.counts.values()) or 1))
        nbytes = stream.consumed if found.is_whole else stream.size * share
        self._archive_seconds += found.seconds_per_byte * nbytes

    def _lacks_names(self, wanted: LimitedPatches, name: str) -> bool:
        """Whether the wanted patches of a modality go by name, but no name was looked up."""
        looked_up = name in self._by_tables or self._reads_names_quickly(name)
        return name in wanted.names and not looked_up

    def _add_counts(
        self, visitor: "_BeginningVisitor", found: BeginningEstimate, limits: Mapping[str, int]
    ) -> None:
        """Add the patches of archives to the numbers, those counted or else those estimated."""
        is_cut = self._limit is not None and visitor.wanted is None
        is_exact = visitor.has_all_wanted or (found.is_whole and not is_cut)
        for name in visitor.uncounted:
            count = visitor.come[name] if is_exact else found.counts.get(name)
            if count is not None and name in limits:
                count = min(count, limits[name])
            before = self._counts[name] or 0
            self._counts[name] = None if count is None else before + count
            if not is_exact:
                self._estimated.add(name)

    def _look_up(self, name: str, wanted: LimitedPatches | None) -> int:
        """Note the patches of a modality that tables name, and count them."""
        count = 0
        for patch in self._listed.patches(name):
            if wanted is None or wanted.has(patch):
                self._names.add_name(patch)
                count += 1
        return count


class _BeginningVisitor:
    """Takes the patches at the beginning of the archives of one stream."""

    def __init__(
        self,
        *,
        wanted: LimitedPatches | None,
        samples: Mapping[str, EvenSample],
        names: NameLog,
        uncounted: set[str],
        is_twice: Callable[[Patch], bool],
    ) -> None:
        self._is_twice = is_twice
        self.wanted = wanted
        """The patches that are wanted; None if all are, or if it is not known which."""
        self.uncounted = uncounted
        """Modalities whose patches are counted and noted here, as no table names them."""
        self.come = Counter[str]()
        """Modality -> how many of the wanted patches have come."""
        self._samples, self._names = samples, names
        self._of_tables: list[Patch] = []

    def add(self, patch: Patch) -> None:
        """Put a patch into the sample; note it if it is wanted and no table has it."""
        self._samples[patch.modality].add(patch)
        if self.wanted is not None and not self.wanted.has(patch):
            return
        if self._is_twice(patch):
            return
        self.come[patch.modality] += 1
        if patch.modality in self.uncounted:
            self._names.add(patch)
        else:
            self._of_tables.append(patch.with_archived(None))

    def has_enough(self, consumed: int) -> bool:
        """Whether the sample is full, and what is to be counted is known as well as it can be."""
        if consumed >= BEGINNING:
            return True
        is_sampled = all(sample.full for sample in self._samples.values())
        return is_sampled and (self.has_all_wanted or not self.uncounted)

    @property
    def has_all_wanted(self) -> bool:
        """Whether all of the wanted patches have come that no table names."""
        if self.wanted is None:
            return False
        limits = self.wanted.counts(self.uncounted)
        return all(self.come[name] >= limit for name, limit in limits.items())

    def count_all(self) -> None:
        """Count and note the patches that tables name, too: archives tell what is really there."""
        for patch in self._of_tables:
            self._names.add_name(patch)
        self.uncounted = set(self._samples)
