"""The report of a conversion: counts, and the names of all that was not as expected."""

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.labels import label_sources
from patchpress.converter.descriptions.published import compared, lines_of
from patchpress.converter.sources.file_patterns import files_named
from patchpress.converter.sources.passed_over import PassedOver, passed_over_lines
from patchpress.converter.storage.folder import writing
from patchpress.converter.tables.geoparquet import rows_with_place
from patchpress.converter.tables.metadata import Joined, rows_with_all
from patchpress.converter.text import as_text, limit_text, line, named, size, split_rows
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.whole_file import whole_file
from patchpress.readers.showing import plain_json

_NAMES_AT_ONCE = 10_000  # of a list, while the report is written


@dataclass
class FittedPatches:
    """The patches of one modality that were not of the usual size."""

    rule: str
    """What was done with them: a `Size`."""
    patches: list[str]
    """Their keys, each with the size that it has in the source."""


@dataclass
class Report:
    """The outcome of one conversion."""

    store: str
    dataset: str
    layout: str
    compression: str
    records: dict[str, int] = field(default_factory=dict)
    """Modality -> records stored."""
    bytes: int = 0
    """Size of the data file."""
    seconds: float = 0.0
    limit: int | None = None
    """How many patches were asked for; None if all."""
    is_spread: bool = True
    """Whether these were spread over the source, and not the first ones of its archives."""
    rows: int = 0
    splits: dict[str, dict[str, int]] = field(default_factory=dict)
    flagged: dict[str, dict[str, int]] = field(default_factory=dict)
    """Of the rows in `splits`, those that their publisher does not recommend for use."""
    absent: tuple[str, ...] = ()
    """Modalities and tables that the source does not have."""
    labels: list[tuple[str, str, int]] = field(default_factory=list)
    """Label columns, what gave their labels, and how many rows have some."""
    published: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Modality, or `together` for all of them -> patches stored, and published, if that is known.
    """
    defects: list[str] = field(default_factory=list)
    """One sentence for each patch left out because the data set is known to have it damaged."""
    rows_without_pixels: int = 0
    without_partner: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    without_row: dict[str, list[str]] = field(default_factory=dict)
    listed_without_pixels: dict[str, Sequence[str]] = field(default_factory=dict)
    """Official list -> names in it that are not in the source."""
    other_ground: list[str] = field(default_factory=list)
    footprints: int = 0
    """Rows that have a footprint in the table."""
    other_size: dict[str, FittedPatches] = field(default_factory=dict)
    """Modality -> its patches that were cropped, padded or resized."""
    reading: list[str] = field(default_factory=list)
    """A sentence for each thing in tables, lists and JSON files that is not read as it stands."""
    skipped: list[str] = field(default_factory=list)
    """One sentence for each patch that was left out."""
    passed_over: dict[str, PassedOver] = field(default_factory=dict)
    """Modality -> entries of its folder that are no patches."""
    passed_over_in_archives: dict[str, PassedOver] = field(default_factory=dict)
    """Archive -> files of it that belong to no patch."""
    other_values: int = 0
    """Values of an adopted data file that are no records of the dataset."""
    kinds_of_other_values: str = ""
    """What these are, for people."""
    shards: int | None = None
    """How many data files the store has; None for a single one beside the manifest."""
    archives: list[tuple[str, int]] = field(default_factory=list)
    """Path and bytes of each archive that the pixels stay in; empty if they were copied."""
    untried: str = ""
    """What the description was made of, if nobody tried it with the published files."""
    notes: list[str] = field(default_factory=list)
    """A sentence for each part of the source that is there and was not read."""

    @property
    def labelled(self) -> bool:
        """Whether any row has labels."""
        return any(count for _, _, count in self.labels)

    @property
    def exit_code(self) -> int:
        """0, or 1 if patches were left out."""
        return 1 if self.skipped else 0

    def remarkable(self) -> bool:
        """Whether it has names that only the file of the report lists in full."""
        return bool(
            self.skipped
            or self.without_partner
            or self.without_row
            or self.other_ground
            or self.listed_without_pixels
            or self.other_size
            or self.defects
            or any(found.unmatched for found in self.passed_over.values())
            or any(found.unmatched for found in self.passed_over_in_archives.values())
        )

    def text(self) -> str:
        """The report for people, with the first few names of each list."""
        file = report_path(Path(self.store)).name
        counts = ", ".join(f"{n:,} {name}" for name, n in self.records.items())
        lines = [
            f"{self.store}: {self.dataset}, {self.layout}, compression {self.compression}",
            f"  records            {counts}",
            f"  data               {size(self.bytes)} in {self.seconds:,.1f} s",
            f"  rows               {self.rows:,}",
        ]
        if self.archives:
            pixels = size(sum(nbytes for _, nbytes in self.archives))
            stay = ", ".join(path for path, _ in self.archives)
            lines[2] = line("index", f"{size(self.bytes)} in {self.seconds:,.1f} s")
            lines.insert(3, line("pixels", f"stay in {stay} ({pixels})"))
        if self.shards is not None:
            lines.insert(3, line("shards", f"{self.shards:,}"))
        if self.limit is not None:
            lines.insert(1, line("limit", limit_text(self.limit, is_spread=self.is_spread)))
        if self.untried:
            lines.insert(1, line("description", self.untried))
        for split, found in self.splits.items():
            flagged = self.flagged.get(split, {}).get("rows", 0)
            lines.append(f"  split {split:<12} {split_rows(found['rows'], flagged)}")
        without = self.rows - sum(counts["rows"] for counts in self.splits.values())
        if not self.splits:
            lines.append("  splits             none")
        elif without:
            lines.append(f"  in no split        {without:,}")
        for columns, source, labelled in self.labels:
            part = f"{labelled:,} of {self.rows:,} rows"
            lines.append(f"  labels             {columns}: from {source}, {part}")
        if not self.labels:
            lines.append("  labels             none: the source gives none")
        if self.footprints < self.rows:
            lines.append(line("footprints", self._footprints()))
        lines += lines_of(self.published, len(self.defects))
        lines += named("left out as known defects of the data set", self.defects, file)
        if self.absent:
            lines.append(f"  not in the source  {', '.join(self.absent)}")
        lines += [f"  note: {sentence}" for sentence in self.reading]
        if self.rows_without_pixels:
            lines.append(f"  rows without pixels, left out: {self.rows_without_pixels:,}")
        for name, names in self.listed_without_pixels.items():
            lines.append(f"  names in the list {name} without pixels: {len(names):,}")
        for one, partners in self.without_partner.items():
            for other, names in partners.items():
                lines += named(f"{one} without {other}", names, file)
        for name, names in self.without_row.items():
            lines += named(f"{name} without a row in the tables", names, file)
        lines += named("patches whose modalities cover different ground", self.other_ground, file)
        if self.other_values:
            lines.append(
                f"  values that are no records, left out: {self.other_values:,}, "
                f"{self.kinds_of_other_values}"
            )
        for name, sized in self.other_size.items():
            title = f"{name} patches of another size, {_DONE[sized.rule]}"
            lines += named(title, sized.patches, file)
        lines += passed_over_lines(self.passed_over, self.passed_over_in_archives)
        lines += [f"  {note}" for note in self.notes]
        lines += named("patches left out because of errors", self.skipped, file)
        return as_text(lines)

    def _footprints(self) -> str:
        if not self.footprints:
            return "none: no patch has a georeference that is known here"
        return (
            f"of {self.footprints:,} of {self.rows:,} rows; the others have no georeference that "
            "is known here"
        )

    def write(self, path: Path) -> None:
        """Write all of it, every name included, as JSON."""
        with whole_file(path) as file:
            for part in _json_parts(asdict(self)):
                file.write(plain_json(part).encode())


_DONE = {
    "crop": "cropped to the usual one",
    "pad": "padded to the usual one",
    "resize": "resized to the usual one",
}


def _json_parts(content: dict[str, Any]) -> Iterator[str]:
    """The JSON of a report in parts: lists of a large data set have millions of names."""
    places: dict[str, Sequence[str]] = {}
    for number, (name, names) in enumerate(content["listed_without_pixels"].items()):
        if names:
            places[place := f"names \0{number}"] = names
            content["listed_without_pixels"][name] = place
    text = json.dumps(content, indent=1, ensure_ascii=False)
    for place, names in places.items():
        before, _, text = text.partition(json.dumps(place))
        yield f"{before}["
        left, between = iter(names), "\n   "
        while some := list(islice(left, _NAMES_AT_ONCE)):
            listed = json.dumps(some, ensure_ascii=False, separators=(",\n   ", ": "))
            yield f"{between}{listed[1:-1]}"
            between = ",\n   "
        yield "\n  ]"
    yield f"{text}\n"


def is_report(path: Path) -> bool:
    """Whether a file is a report of a conversion; other programs may have files of that name."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"store", "dataset", "without_partner"} <= content.keys()


def report_path(store: Path) -> Path:
    """The path of a store's report, beside the store."""
    whole = store.absolute()  # "." has no name of its own
    return whole.with_name(f"{whole.name}.report.json")


def report_of(
    store: Path,
    description: Description,
    joined: Joined,
    manifest: Manifest,
    files: Mapping[str, Path],
    absent: tuple[str, ...],
) -> Report:
    """The part of a report that a conversion and an adoption share: what the join found."""
    modalities = manifest.modalities.values()
    return Report(
        store=str(store),
        dataset=manifest.dataset.name,
        layout=", ".join(dict.fromkeys(m.layout for m in modalities)),
        compression=", ".join(dict.fromkeys(m.compression.codec for m in modalities)),
        records={modality.name: modality.records for modality in modalities},
        bytes=sum(shard.bytes for shard in manifest.shards),
        rows=manifest.rows,
        splits={name: dict(counts) for name, counts in manifest.splits.items()},
        flagged={name: dict(counts) for name, counts in manifest.flagged.splits.items()},
        absent=absent,
        published=compared(
            description.published,
            {modality.name: modality.records for modality in modalities},
            rows_with_all(joined.table, manifest.modalities),
        ),
        labels=_labels(description, joined, manifest, files),
        listed_without_pixels=joined.listed_without_pixels,
        rows_without_pixels=joined.rows_without_pixels,
        without_partner=joined.without_partner,
        without_row=joined.without_row,
        other_ground=joined.other_ground,
        footprints=rows_with_place(joined.table),
        reading=list(joined.notes),
        untried=description.untried,
    )


def _labels(
    description: Description, joined: Joined, manifest: Manifest, files: Mapping[str, Path]
) -> list[tuple[str, str, int]]:
    """Label columns, what gave their labels, and for how many rows; those alike are told as one."""
    has_tables = bool(files_named(files, description.tables))
    sources = label_sources(description, manifest.modalities, has_tables=has_tables)
    columns: dict[tuple[str, int], list[str]] = {}
    for column in manifest.targets:
        source = sources[column].title if column in sources else "the source"
        labelled = len(joined.table) - joined.table[column].null_count
        columns.setdefault((source, labelled), []).append(column)
    return [(", ".join(names), source, count) for (source, count), names in columns.items()]


def save_report(report: Report, store: Path) -> None:
    """Write the report beside the store if it has more than is shown, else remove an old one.

    Raises:
        TargetError: it cannot be written there.
    """
    beside = report_path(store)
    with writing(beside):
        if report.remarkable():
            report.write(_free(beside))
        elif _is_plain_report(beside):
            beside.unlink()


def _free(beside: Path) -> Path:
    """The path itself, or one beside it if something else lies there, which is told."""
    path, number = beside, 1
    while os.path.lexists(path) and not _is_plain_report(path):
        number += 1
        path = beside.with_name(f"{beside.stem}-{number}.json")
    if path != beside:
        warnings.warn(
            f"{beside} is no report of a conversion and stays: the report is {path}", stacklevel=4
        )
    return path


def _is_plain_report(path: Path) -> bool:
    return not path.is_symlink() and is_report(path)
