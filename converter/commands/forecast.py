"""What a conversion would do, for people: counts, sizes, times, and what of it is estimated."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from patchpress.converter.descriptions.published import lines_of
from patchpress.converter.sources.passed_over import PassedOver, passed_over_lines
from patchpress.converter.storage.disk import Disk
from patchpress.converter.text import (
    as_text,
    limit_text,
    line,
    named,
    number,
    several,
    size,
    span,
    split_rows,
)
from patchpress.readers.format.modality import Band

NAMES = 13  # so many bands are named one by one; of more, the first and the last
LONG = 10.0  # seconds from which on the speed of the disk is said


@dataclass(frozen=True, slots=True, kw_only=True)
class ModalityForecast:
    """The records of one modality."""

    bands: tuple[Band, ...]
    patches: float | None
    """How many; None if only the end of an archive tells."""
    about: bool
    """Whether that number is estimated."""
    by: str
    """What tells the number, if the patches themselves were not counted; else empty."""
    record: float
    """Bytes of one record."""
    record_about: bool
    """Whether these are estimated."""

    def lines(self, name: str) -> list[str]:
        """The modality for people: its patches and records, then its bands of each kind."""
        count = "unknown" if self.patches is None else number(self.patches, about=self.about)
        by = f" by {self.by}" if self.by else ""
        about = "about " if self.record_about else ""
        text = f"{count} patches{by}, {about}{self.record:,.0f} bytes a record"
        lines = [line(name, text)]
        for (gsd, dtype, shape), bands in groupby(sorted(self.bands, key=_grid), key=_grid):
            names = _names([band.name for band in bands])
            lines.append(f"    {names}: {shape[1]} x {shape[0]} pixels of {gsd:g} m, {dtype}")
        return lines


def _grid(band: Band) -> tuple[float, str, tuple[int, int]]:
    """What bands that are shown in one line share."""
    return band.gsd, band.dtype, band.shape


def _names(names: Sequence[str]) -> str:
    if len(names) <= NAMES:
        return ", ".join(names)
    return f"{names[0]} to {names[-1]} ({len(names)} bands)"


@dataclass
class Forecast:
    """What `convert` would do with the same arguments."""

    store: str
    dataset: str
    layout: str
    compression: str
    limit: int | None
    """How many patches would be taken; None for all."""
    is_spread: bool
    """Whether these would be spread over the source, and not the first ones of its archives."""
    modalities: dict[str, ModalityForecast]
    stored: int = 0
    """Records that an interrupted conversion has stored already."""
    goes_on: bool = False
    partners: dict[str, tuple[float, bool]] = field(default_factory=dict)
    """Modality -> patches of the primary one that have it, and whether that is estimated."""
    primary: str = ""
    """The modality that the rows are about."""
    rows: float | None = None
    """Rows of metadata.parquet; None if that is unknown."""
    rows_about: bool = False
    """Whether their number is estimated."""
    rows_without_pixels: int = 0
    """Rows of the tables that are left out, because none of their patches is in the source."""
    without_row: dict[str, int] = field(default_factory=dict)
    """Modality -> patches that no row of the tables names."""
    splits: dict[str, int] = field(default_factory=dict)
    """Split -> rows."""
    splits_follow: bool = False
    """Whether the splits follow from pixels: from where the patches lie."""
    flagged: dict[str, int] = field(default_factory=dict)
    """Split -> those of its rows that their publisher does not recommend for use."""
    listed_without_pixels: dict[str, int] = field(default_factory=dict)
    """List -> names in it that have no pixels in the source."""
    labels: list[tuple[str, str, int | None]] = field(default_factory=list)
    """Columns, what gives them, and for how many rows."""
    reading: tuple[str, ...] = ()
    """A sentence for each thing in tables and lists that is not read as it stands."""
    absent: tuple[str, ...] = ()
    """Modalities, tables and lists that the source does not have."""
    passed_over: dict[str, PassedOver] = field(default_factory=dict)
    """Modality -> entries of its folder that are no patches."""
    published: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Modality, or `together` for all of them -> patches there, and published, if that is known."""
    published_about: bool = False
    """Whether the first of these numbers are estimated."""
    defects: list[str] = field(default_factory=list)
    """One sentence for each patch that is left out for a known defect, as far as it was met."""
    passed_over_in_archives: dict[str, PassedOver] = field(default_factory=dict)
    """Archive -> files of it that belong to no patch, if it was read to its end."""
    untried: str = ""
    """What the description was made of, if nobody tried it with the published files."""
    notes: list[str] = field(default_factory=list)
    """A sentence for each part of the source that is there and would not be read."""
    skipped: list[str] = field(default_factory=list)
    """One sentence for each patch that would be left out, as far as is known."""
    other_size: int = 0
    """Of the patches that were tried, how many would be cropped, padded or resized."""
    tried: int = 0
    """Patches that were encoded to measure."""
    damaged: list[str] = field(default_factory=list)
    """One sentence for each of them that has no record."""
    data: int | None = None
    """Bytes of data.mdb."""
    bytes: int | None = None
    """Bytes of the whole store."""
    there: int = 0
    """Bytes of an earlier store, or of an interrupted one, that count as free."""
    disk: Disk = field(default_factory=lambda: Disk(0, 0, False))
    lack: str = ""
    """The sentence with which `convert` would refuse, if there is too little room; else empty."""
    seconds: float | None = None
    """How long it would take; None if that is unknown."""
    workers: int = 0
    """Processes that would decode."""
    shards: int | None = None
    """How many data files the store would have; None for a single one beside the manifest."""
    parallel: tuple[str, ...] = ()
    """What of the source several processes can read at the same time, a sentence each."""

    @property
    def exit_code(self) -> int:
        """The exit code of `patchpress convert`, as far as is known: 1 if patches are left out."""
        return 1 if self.skipped else 0

    def text(self) -> str:
        """The forecast for people, names cut after a few."""
        head = f"{self.store}: {self.dataset}, {self.layout}, compression {self.compression}"
        lines = [f"{head}: a dry run, nothing is written"]
        if self.untried:
            lines.append(line("description", self.untried))
        if self.limit is not None:
            lines.append(line("limit", limit_text(self.limit, is_spread=self.is_spread)))
        for name, found in self.modalities.items():
            lines += found.lines(name)
        if self.goes_on:
            lines.append(line("goes on", f"{self.stored:,} records are stored already"))
        lines += self._rows()
        lines += lines_of(self.published, len(self.defects), about=self.published_about)
        lines += named("left out as known defects of the data set", self.defects)
        if self.absent:
            lines.append(line("not in the source", ", ".join(self.absent)))
        lines += passed_over_lines(self.passed_over, self.passed_over_in_archives)
        lines += [f"  {note}" for note in self.notes]
        lines += named("patches left out because of errors", self.skipped)
        if self.other_size:
            title = f"of another size among the {self.tried:,} patches that were tried"
            lines.append(f"  {title}: {self.other_size:,}")
        lines += named(f"damaged among the {self.tried:,} patches that were tried", self.damaged)
        return as_text([*lines, *self._estimates(), *(f"  {each}" for each in self.parallel)])

    def _rows(self) -> list[str]:
        lines = []
        for other, (count, about) in self.partners.items():
            lines.append(line(f"{self.primary} with {other}", number(count, about=about)))
        if self.rows is None:
            lines.append(line("rows", "unknown before the archives are read"))
        else:
            lines.append(line("rows", number(self.rows, about=self.rows_about)))
            lines += [
                line(f"split {split}", split_rows(count, self.flagged.get(split, 0)))
                for split, count in self.splits.items()
            ]
            without = self.rows - sum(self.splits.values())
            if without and self.splits:
                lines.append(line("in no split", number(without, about=self.rows_about)))
            elif self.splits_follow:
                lines.append(line("splits", "by blocks of ground, once the patches are read"))
            elif not self.splits and not self.rows_about:
                lines.append(line("splits", "none"))
        for columns, source, labelled in self.labels:
            rows = f", {labelled:,} rows" if labelled is not None else ""
            lines.append(line("labels", f"{columns}: from {source}{rows}"))
        if not self.labels:
            lines.append(line("labels", "none: the source gives none"))
        lines += [f"  note: {sentence}" for sentence in self.reading]
        if self.rows_without_pixels:
            lines.append(f"  rows without pixels, left out: {self.rows_without_pixels:,}")
        for name, count in self.without_row.items():
            lines.append(f"  {name} without a row in the tables: {count:,}")
        for name, count in self.listed_without_pixels.items():
            lines.append(f"  names in the list {name} without pixels: {count:,}")
        return lines

    def _estimates(self) -> list[str]:
        there = f", beside {size(self.there)} that are there already" if self.there else ""
        free = f"{size(self.disk.free)} are free on its disk{there}"
        if self.bytes is None or self.data is None:
            return [line("store", f"unknown before the archives are read; {free}")]
        lines = [line("store", f"about {size(self.bytes)}; {free}")]
        if self.shards is not None:
            each = size(self.data / self.shards)
            lines.append(line("shards", f"{self.shards:,}, of about {each} on average"))
        if self.seconds:
            workers = several(self.workers, "worker") if self.workers else "no workers"
            text = f"about {span(self.seconds)} with {workers}"
            if self.seconds >= LONG:
                text += f", if the disk takes {size(self.data / self.seconds)} a second"
            lines.append(line("time", text))
        return lines
