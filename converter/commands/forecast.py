"""What a conversion would do, for people: counts, sizes, times, and what of it is estimated."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from patchpress.converter.storage.disk import Disk
from patchpress.converter.text import named, number, size, span, split_rows
from patchpress.readers.format.modality import Band

NAMES = 13  # bands whose names are shown; of more, the first and the last

LONG = 10.0  # seconds: of less nobody waits for the disk


@dataclass(frozen=True, slots=True)
class Foreseen:
    """The records of one modality."""

    bands: tuple[Band, ...]
    patches: float | None
    """None where only the end of an archive tells."""
    about: bool
    """Whether that is estimated."""
    by: str
    """What tells the number, where the patches themselves were not counted; else empty."""
    record: float
    """Bytes of one record."""
    record_about: bool

    def count(self) -> str:
        """The number of patches."""
        return "unknown" if self.patches is None else number(self.patches, about=self.about)


@dataclass
class Forecast:
    """What `convert` would do with the same arguments."""

    store: str
    dataset: str
    layout: str
    compression: str
    modalities: dict[str, Foreseen]
    stored: int = 0
    """Records that an interrupted conversion has stored already."""
    goes_on: bool = False
    partners: dict[str, tuple[float, bool]] = field(default_factory=dict)
    """Modality -> patches of the primary one that have it, and whether that is estimated."""
    primary: str = ""
    rows: float | None = None
    rows_about: bool = False
    rows_without_pixels: int = 0
    without_row: dict[str, int] = field(default_factory=dict)
    """Modality -> patches that no row of the tables names."""
    splits: dict[str, int] = field(default_factory=dict)
    flagged: dict[str, int] = field(default_factory=dict)
    """Of the rows in `splits`, those that their publisher does not recommend for use."""
    """Split -> rows."""
    listed_without_pixels: dict[str, int] = field(default_factory=dict)
    labels: list[tuple[str, str, int | None]] = field(default_factory=list)
    """Columns, what gives them, and for how many rows."""
    absent: tuple[str, ...] = ()
    ignored: dict[str, int] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    """One sentence for each patch that would be left out, as far as is known."""
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
    """With which sentence `convert` would refuse for want of room; empty where it would not."""
    seconds: float | None = None
    workers: int = 0

    @property
    def exit_code(self) -> int:
        """0, or 1 where patches are known to be left out."""
        return 1 if self.skipped else 0

    def text(self) -> str:
        """The forecast for people, names cut after a few."""
        head = f"{self.store}: {self.dataset}, {self.layout}, compression {self.compression}"
        lines = [f"{head}: a dry run, nothing is written"]
        for name, found in self.modalities.items():
            lines += _modality(name, found)
        if self.goes_on:
            lines.append(_line("goes on", f"{self.stored:,} records are stored already"))
        lines += self._rows()
        if self.absent:
            lines.append(_line("not in the source", ", ".join(self.absent)))
        for name, count in self.ignored.items():
            lines.append(f"  entries of the {name} folder that are no patches: {count:,}")
        lines += named("patches left out because of errors", self.skipped)
        lines += named(f"damaged among the {self.tried:,} patches that were tried", self.damaged)
        return "\n".join([*lines, *self._estimates()])

    def _rows(self) -> list[str]:
        lines = []
        for other, (count, about) in self.partners.items():
            lines.append(_line(f"{self.primary} with {other}", number(count, about=about)))
        if self.rows is None:
            lines.append(_line("rows", "unknown before the archives are read"))
        else:
            lines.append(_line("rows", number(self.rows, about=self.rows_about)))
            lines += [
                _line(f"split {split}", split_rows(count, self.flagged.get(split, 0)))
                for split, count in self.splits.items()
            ]
            without = self.rows - sum(self.splits.values())
            if without and (self.splits or not self.rows_about):
                lines.append(_line("split none", number(without, about=self.rows_about)))
        for columns, source, labelled in self.labels:
            rows = f", {labelled:,} rows" if labelled is not None else ""
            lines.append(_line("labels", f"{columns}: from {source}{rows}"))
        if not self.labels:
            lines.append(_line("labels", "none: the source gives none"))
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
            return [_line("store", f"unknown before the archives are read; {free}")]
        lines = [_line("store", f"about {size(self.bytes)}; {free}")]
        if self.seconds:
            plural = "s" if self.workers > 1 else ""
            workers = f"{self.workers} worker{plural}" if self.workers else "no workers"
            rate = f", if the disk takes {size(self.data / self.seconds)} a second"
            long = rate if self.seconds >= LONG else ""
            lines.append(_line("time", f"about {span(self.seconds)} with {workers}{long}"))
        return lines


def _line(title: str, text: str) -> str:
    return f"  {title:<18} {text}"


def _modality(name: str, found: Foreseen) -> list[str]:
    by = f" by {found.by}" if found.by else ""
    about = "about " * found.record_about
    text = f"{found.count()} patches{by}, {about}{found.record:,.0f} bytes a record"
    lines = [_line(name, text)]
    for (gsd, dtype, shape), bands in groupby(sorted(found.bands, key=_form), key=_form):
        names = _names([band.name for band in bands])
        lines.append(f"    {names}: {shape[1]} x {shape[0]} pixels of {gsd:g} m, {dtype}")
    return lines


def _form(band: Band) -> tuple[float, str, tuple[int, int]]:
    return band.gsd, band.dtype, band.shape


def _names(names: Sequence[str]) -> str:
    if len(names) <= NAMES:
        return ", ".join(names)
    return f"{names[0]} to {names[-1]} ({len(names)} bands)"
