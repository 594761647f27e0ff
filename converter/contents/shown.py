"""Facts of stores and records as text: tables with numbers to the right, by rich."""

from collections.abc import Iterable, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

from patchpress.converter.contents.of_store import Facts
from patchpress.converter.text import as_text, first_few, several, size
from patchpress.readers.showing import plain

if TYPE_CHECKING:
    from rich.table import Table

_SIZED = {"crop": "cropped", "pad": "padded", "resize": "resized"}
_WRONG = {
    "absent_shards": "that the manifest lists cannot be found",
    "changed_shards": "of another size than the manifest promises",
}
_NARROW = 80  # characters, the least that a line is cut to


def store_text(facts: Facts, width: int | None = None) -> str:
    """A store for people.

    Args:
        facts: of `store_facts`.
        width: characters of a line; long names take further lines. None for as wide as it takes.
    """
    dataset, flagged = facts["dataset"], facts["flagged"]
    lines = [
        f"{facts['store']}: {dataset['title']}, version {dataset['version']}",
        f"  licence {dataset['licence']}, {dataset['url']}",
        f"  {several(facts['records'], 'record')}, {size(facts['bytes'])}, "
        f"{several(facts['rows'], 'row')}",
        f"  {_ratio(facts)}",
    ]
    if facts["shards"]:
        lines.append(_shards(facts["shards"]))
    for name, what in _WRONG.items():
        if facts[name]:
            count = several(len(facts[name]), "data file")
            lines.append(f"  {count} {what}: {first_few(facts[name])}; copy the store again")
    if flagged["columns"]:
        counts = ", ".join(f"{name} {count:,}" for name, count in flagged["columns"].items())
        lines.append(
            f"  {flagged['rows']:,} rows are flagged ({counts}): not recommended by the publisher"
        )
    if len(facts["modalities"]) > 1:
        lacking = (
            f"{name} {entry['missing']:,}"
            for name, entry in facts["modalities"].items()
            if entry["missing"]
        )
        missing = ", ".join(lacking)
        lines.append(
            f"  {facts['complete_rows']:,} rows have all modalities"
            + (f"; missing: {missing}" if missing else "")
        )
        if missing:
            lines.append(
                "  of several modalities, loaders leave out such rows, or fill in zeros: "
                'missing="zeros"'
            )
    for name, modality in facts["modalities"].items():
        lines += ["", *_modality(name, modality, width)]
    if facts["splits"]:
        lines += ["", *_splits(facts["splits"], width)]
    for column, classes in facts["classes"].items():
        default = ", the default target" if column == facts["target"] else ""
        count = several(len(classes), "class", "classes")
        if column in facts["parts"]:
            count = f"parts of {count}, rows in which the part is above 0"
        lines += ["", f"  column {column}: {count}{default}"]
        lines += _classes(classes, width)
    for column, parts in facts["numbers"].items():
        default = ", the default target" if column == facts["target"] else ""
        lines += ["", f"  column {column}: a number{default}", *_numbers(parts, width)]
    return as_text(lines)


def _numbers(parts: Facts, width: int | None) -> list[str]:
    """A column of numbers: what its values are in each split, and in how many rows none is."""
    head = ["", "rows", "absent", "min", "mean", "max"]
    rows = [
        [name, f"{part['rows']:,}", f"{part['absent']:,}"]
        + ["none" if part[key] is None else f"{part[key]:.6g}" for key in ("min", "mean", "max")]
        for name, part in parts.items()
    ]
    return _lines(_table(head, rows, "lrrrrr"), width)


def record_text(facts: Facts, width: int | None = None) -> str:
    """A record for people.

    Args:
        facts: of `record_facts`.
        width: as `store_text`.
    """
    lines = [f"{facts['key']}: {facts['modality']}, {facts['dtype']}"]
    if "steps" in facts:
        lines.append(f"  {facts['present']} of {facts['steps']} dates; numbers are of all of these")
    odd = any(band["not_finite"] for band in facts["bands"])
    head = ["band", "gsd", "pixels", "min", "mean", "max", *(["not finite"] if odd else [])]
    rows = (
        [
            band["name"],
            f"{band['gsd']:g} m",
            _shape(band["shape"]),
            _number(band["min"]),
            "none" if band["mean"] is None else f"{band['mean']:.2f}",
            _number(band["max"]),
            *([f"{band['not_finite']:,}"] if odd else []),
        ]
        for band in facts["bands"]
    )
    lines += _lines(_table(head, rows, "lrrrrrr"), width)
    if facts["row"]:
        values = ([name, _value(value)] for name, value in facts["row"].items())
        lines += ["", *_lines(_table([], values, "ll"), width)]
    return as_text(lines)


def _ratio(facts: Facts) -> str:
    """How the data files compare with their pixels."""
    pixels, stored = facts["pixel_bytes"], facts["bytes"]
    if not pixels:
        return "no pixels"
    if facts["archives"] is not None:
        told = [f"{one['path']} ({size(one['bytes'])})" for one in facts["archives"]]
        return f"the {size(pixels)} of its pixels stay in {', '.join(told)}"
    return f"{stored / pixels:.2f} times the {size(pixels)} of its pixels in their own resolution"


def _shards(shards: Facts) -> str:
    (least, most), (small, large) = shards["records"], shards["bytes"]
    return (
        f"  {several(shards['count'], 'shard')} of {least:,} to {most:,} records, "
        f"{size(small)} to {size(large)}"
    )


def _modality(name: str, modality: Facts, width: int | None) -> list[str]:
    compression = modality["compression"]
    if modality["level"] is not None:
        compression += f" level {modality['level']}"
    layout = modality["layout"]
    if modality["resampling"]:
        layout += f", resampling {modality['resampling']}"
    if modality["size"] != "keep":
        layout += f", patches of another size {_SIZED[modality['size']]}"
    *time, bands, height, across = modality["shape"]
    dates = "".join(f"{count} dates x " for count in time)
    head = [
        f"  {name}: {modality['title']}",
        f"  {modality['records']:,} records of {dates}{bands} x {height} x {across} "
        f"{modality['dtype']}, layout {layout}, compression {compression}",
    ]
    rows = (
        [band["name"], f"{band['gsd']:g} m", band["dtype"], _shape(band["shape"])]
        for band in modality["bands"]
    )
    return [*head, *_lines(_table(["band", "gsd", "dtype", "pixels"], rows, "lrlr"), width)]


def _splits(splits: Facts, width: int | None) -> list[str]:
    """Each split: its rows, and records of each modality; those flagged apart."""
    names = [name for name in next(iter(splits.values())) if name != "flagged"]
    rows: list[list[str]] = []
    for split, counts in splits.items():
        rows.append([split, *(f"{counts[name]:,}" for name in names)])
        if counts["flagged"]:
            rows.append([f"{split}, flagged", *(f"{counts['flagged'][n]:,}" for n in names)])
    return _lines(_table(["split", *names], rows, "l" + "r" * len(names)), width)


def _classes(classes: Sequence[Facts], width: int | None) -> list[str]:
    """Each class: its rows in each split, and in all."""
    splits = list(classes[0]["splits"]) if classes else []
    rows = (
        [entry["name"], *(f"{entry['splits'][s]:,}" for s in splits), f"{entry['rows']:,}"]
        for entry in classes
    )
    head = ["class", *splits, "all rows"]
    return _lines(_table(head, rows, "l" + "r" * (len(splits) + 1)), width)


def _shape(shape: Sequence[int]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _number(value: float | None) -> str:
    return "none" if value is None else str(value)


def _value(value: Any) -> str:
    """A value of the table: lists one entry a line."""
    if isinstance(value, list):
        return "\n".join(plain(str(entry)) for entry in value)
    return plain(str(value))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], sides: str) -> "Table":
    """A table of plain text without lines; `sides` is `l` or `r` for each column."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=None, show_header=bool(head), header_style="", pad_edge=False, padding=(0, 2, 0, 0)
    )
    for number, side in enumerate(sides[: len(head)] if head else sides):
        title = Text(plain(head[number])) if head else ""
        table.add_column(
            title, justify="right" if side == "r" else "left", no_wrap=side == "r", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(cell if "\n" in cell else plain(cell)) for cell in row))
    return table


def _lines(table: "Table", width: int | None) -> list[str]:
    """A table as lines, moved in by four characters."""
    from rich.console import Console

    within = 100_000 if width is None else max(width, _NARROW) - 4
    console = Console(file=StringIO(), width=within, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(table)
    return [f"    {line}".rstrip() for line in captured.get().splitlines()]
