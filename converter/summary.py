"""`inspect` and `datasets`: what is in a store or a record, and what can be converted, as text."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from converter.describe import built_in, find, load
from converter.description import Description, ModalitySource
from converter.roots import archive_name
from converter.sources import Walk, entries, pass_over
from readers.errors import DescriptionError, SourceError, SourceMissing
from readers.manifest import Modality
from readers.store import open_store
from readers.table import key_column


def columns(rows: Sequence[Sequence[object]], indent: str = "  ") -> list[str]:
    """Rows as aligned text, two spaces between columns."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))] if cells else []
    return [
        (indent + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True))).rstrip()
        for row in cells
    ]


def store_text(path: Path) -> str:
    """What a store holds: dataset, modalities with their bands, splits, classes, files.

    Raises:
        StoreError: there is no finished store.
    """
    store = open_store(path)
    manifest = store.manifest
    dataset = manifest.dataset
    size = sum(shard.bytes for shard in manifest.shards)
    lines = [
        f"{path}: {dataset.title}, version {dataset.version}",
        f"  licence {dataset.licence}, {dataset.url}",
        f"  {len(store):,} records, {size / 1e6:,.1f} MB, {manifest.rows:,} rows",
    ]
    for modality in manifest.modalities.values():
        lines += ["", *_modality_lines(modality)]
    if manifest.splits:
        names = list(next(iter(manifest.splits.values())))
        rows = [[split, *counts.values()] for split, counts in manifest.splits.items()]
        lines += ["", *columns([["split", *names], *rows])]
    for column, classes in manifest.classes.items():
        lines += ["", f"  column {column}: {len(classes)} classes"]
    return "\n".join(lines)


def _modality_lines(modality: Modality) -> list[str]:
    codec = modality.compression.codec
    if codec != "none":
        codec += f" level {modality.compression.level}"
    bands, height, width = modality.shape
    head = (
        f"  {modality.name}: {modality.title}\n"
        f"  {modality.records:,} records of {bands} x {height} x {width} {modality.dtype.name}, "
        f"layout {modality.layout}, resampling {modality.resampling}, compression {codec}"
    )
    rows = [
        [band.name, f"{band.gsd:g} m", band.dtype, f"{band.shape[0]} x {band.shape[1]}"]
        for band in modality.bands
    ]
    return [head, *columns(rows, "    ")]


def record_text(path: Path, key: str) -> str:
    """One record: its row of the table, and each band with minimum, mean and maximum.

    Raises:
        KeyMissing: there is no such record.
        StoreError: there is no finished store.
    """
    store = open_store(path)
    array = store.read(key)
    modality = store.modality_of(key)
    lines = [f"{key}: {modality.name}, {modality.dtype.name} {array.shape}"]
    rows: list[list[object]] = [["band", "gsd", "min", "mean", "max"]]
    for band, pixels in zip(modality.bands, array, strict=True):
        mean = f"{pixels.mean(dtype=float):.2f}"
        rows.append([band.name, f"{band.gsd:g} m", pixels.min(), mean, pixels.max()])
    lines += columns(rows)
    row = _row(path, key, modality)
    if row:
        lines += ["", *columns(list(row.items()))]
    return "\n".join(lines)


def _row(path: Path, key: str, modality: Modality) -> dict[str, object]:
    import pyarrow.compute as pc

    table = open_store(path).table()
    column = key_column(modality)
    prefix, suffix = modality.key.split(f"{{{column}}}")
    name = key.removeprefix(prefix).removesuffix(suffix)
    found = table.filter(pc.equal(table[column], name)).to_pylist()
    return found[0] if found else {}


def datasets_text() -> str:
    """Each built-in description: what it is, and what it expects on disk."""
    return "\n\n".join(_dataset_lines(load(path)) for path in built_in().values())


def _dataset_lines(description: Description) -> str:
    dataset = description.dataset
    rows: list[list[object]] = []
    for modality in description.modalities.values():
        note = f"{len(modality.bands)} bands" if len(modality.bands) > 1 else "1 band"
        rows.append([modality.name, f"{modality.folder}/{modality.paths[0]}", note])
        rows += [["", packed, "archive"] for packed in _packed(modality, description.md5)]
    rows += [[name, file, "table"] for name, file in description.files().items()]
    head = f"{dataset.name}: {dataset.title}\n  licence {dataset.licence}, {dataset.url}"
    return "\n".join([head, *columns(rows)])


def _packed(modality: ModalitySource, published: Iterable[str]) -> list[str]:
    """Its archives, each with the endings it is published with, or else those that are read."""
    known: dict[str, list[str]] = {stem: [] for stem in modality.archives}
    for file in published:
        name = archive_name(file)
        if name is None or name.stem not in known:
            continue
        ending = file.removeprefix(name.stem)
        if not name.part:
            known[name.stem].append(ending)
        elif set(name.part) <= set("a0"):  # of its parts the first says enough
            known[name.stem].append(f"{ending}, …")
    lines = []
    for stem, endings in known.items():
        *others, last = endings or [".tar.zst", ".tar.gz", ".tar"]
        lines.append(f"{stem}{', '.join(others)}{' or ' * bool(others)}{last}")
    return [f"{'and' if at else 'or'} {line}" for at, line in enumerate(lines)]


def guess_text(source: Path) -> str:
    """Which built-in descriptions fit a folder: the parts that each finds there.

    Archives are known by their names alone, and not opened.

    Raises:
        SourceMissing: there is no such folder.
        SourceError: none fits.
    """
    if not source.is_dir():
        raise SourceMissing(f"source {source} is no folder")
    fits = []
    for name, path in built_in().items():
        found = _found(load(path), source)
        if found:
            fits.append([name, f"has {', '.join(found)}"])
    if not fits:
        raise SourceError(
            f"no description fits {source}; see `patchpress datasets` for what each expects, and "
            "docs/your-own-dataset.md for one of your own"
        )
    return "\n".join(columns(fits, ""))


def _found(description: Description, source: Path) -> list[str]:
    """The modalities that a folder has, unpacked or in archives."""
    archives: dict[str, str] = {}
    for file in entries(source):
        name = archive_name(file)
        if name is not None and (source / file).is_file():
            archives.setdefault(name.stem, f"{file}, …" if name.part else file)
    found = []
    for modality in description.modalities.values():
        folder = source / modality.folder
        packed = [archives[stem] for stem in modality.archives if stem in archives]
        if folder.is_dir() and next(iter(Walk(modality, folder, pass_over)), None) is not None:
            found.append(modality.name)
        elif packed:
            found.append(f"{modality.name} ({', '.join(packed)})")
    return found


def dataset_source(name: str) -> str:
    """The TOML text of a built-in description.

    Raises:
        DescriptionError: there is none of that name.
    """
    known = built_in()
    if name not in known:
        find(name)
        raise DescriptionError(f"{name} is a file of yours: only built-in ones are shown")
    return known[name].read_text(encoding="utf-8").rstrip()
