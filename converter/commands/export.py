"""`export`: rows of a store as files of other programs."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from patchpress.converter.exports.again import command_again
from patchpress.converter.exports.exported import Exported, Written
from patchpress.converter.exports.formats import ExportOptions, check_options, write_format
from patchpress.converter.exports.selection import ExportSelection
from patchpress.converter.exports.target import check_out, left_behind, unfinished_folder
from patchpress.converter.options import ExportCodec, ExportFormat, member
from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.progress import NoProgress, Progress
from patchpress.converter.transfer.plan import lost_with_bands, modalities_asked
from patchpress.converter.transfer.row_choice import (
    ChosenRows,
    RowChoice,
    choose_rows,
    names_or_file,
)
from patchpress.converter.transfer.source_store import SourceStore
from patchpress.readers.choice import Bands, Where
from patchpress.readers.format.table import Split
from patchpress.readers.store import Store, open_store


def export_store(
    format: ExportFormat | str,  # noqa: A002 -- what users call it
    store: StrPath,
    out: StrPath,
    *,
    split: Split = None,
    where: Where = None,
    flagged: str | None = None,
    keys: StrPath | Sequence[str] | None = None,
    modalities: str | Sequence[str] | None = None,
    bands: Bands = None,
    fraction: float | None = None,
    per_class: int | None = None,
    target: str | None = None,
    seed: int = 0,
    deflate: bool = False,
    shard_size: int | str | None = None,
    chunk: int = 1,
    codec: ExportCodec | str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write a store, or a part of it, as files that other programs read.

    Each record is compared with its checksum, and one is in memory at a time. The folder is written
    beside `out` under another name, and renamed when it is whole.

    Args:
        format: ``geotiff``: GeoTIFFs with georeference and band names, one file a patch and
            modality if its bands have one size, else one a band, and metadata.parquet.
            ``webdataset``: tar files for each split, with ``KEY.MODALITY.npy`` and ``KEY.json``.
            ``zarr``: a group of Zarr 3 with an array (patches, bands, height, width) for each
            modality, and one for each column of the table.
            ``hf``: Parquet files for each split with pixels, labels and a picture, a card and
            croissant.json, for the Hugging Face Hub and `datasets`.
            ``mds``, ``litdata``: shards of MosaicML Streaming, or chunks of litData, in a folder
            for each split.
            ``arrayrecord``: files for each split for Grain, a record of safetensors a patch.
        store: folder of the store, or its URL.
        out: folder to write.
        split: a split, several, or samples; all rows for None.
        where: column -> value, or values of which a row must have one; or a pyarrow expression.
        flagged: rows that their publisher does not recommend: as `Store.table` has it; of formats
            with a file a split they are left out by default.
        keys: names of patches, or the path of a file with them: one a line, or a column of a
            Parquet or CSV table.
        modalities: names; all for None. Rows without a record of any of them are left out.
        bands: of images: names, a set such as `rgb` or `10m`, or either for each modality.
        fraction: so large a share of the rows, in which each class has its share, too.
        per_class: so many rows of each class, or all that there are.
        target: the label column that `fraction` and `per_class` look at; the store's target for
            None.
        seed: decides which rows these take.
        deflate: compress GeoTIFFs.
        shard_size: bytes of a file, as a number or as text: ``"1GB"``, which is the default of
            webdataset and arrayrecord; ``"500MB"`` of hf. Of zarr it is the pixels of the patches
            that one file of each array has, 128 MB, of mds and litdata 64 MiB; so many are in
            memory, of mds and litdata for each split.
        chunk: patches that zarr compresses, and reads, together.
        codec: how pixels are compressed. zarr: ``blosc`` by default, ``zstd``, ``none``;
            arrayrecord: ``zstd`` by default, ``none``; mds: ``none`` by default, ``zstd``.
        overwrite: replace a folder that an export wrote.
        progress: told of each patch.

    Raises:
        SelectionEmpty: nothing is left to export; the message says at which wish.
        OptionError, BandMissing, SourceMissing, TableError: a wish that cannot be fulfilled.
        StoreError: there is no finished store, or it is damaged.
        TargetError: the folder is there already, or cannot be written.
    """
    begun = time.monotonic()
    kind = member(ExportFormat, "format", format)
    options = ExportOptions(
        deflate=deflate,
        shard_size=shard_size,
        chunk=chunk,
        codec=None if codec is None else member(ExportCodec, "codec", codec),
    )
    check_options(kind, options)
    choice = RowChoice(
        split=split,
        where=where,
        flagged=flagged,
        keys=names_or_file(keys),
        fraction=fraction,
        per_class=per_class,
        target=target,
        seed=seed,
    )
    choice.check()
    folder = local_path(out).absolute()
    opened = open_store(store, checksums=True, stage=False)
    check_out(folder, opened, overwrite=overwrite)
    notes = []
    if kind is not ExportFormat.geotiff and split is None and flagged is None:
        notes = _flagged_note(opened)
        choice = replace(choice, flagged="exclude" if notes else None)
    names = [modalities] if isinstance(modalities, str) else modalities
    chosen = modalities_asked(opened.manifest, names, bands)
    rows = choose_rows(SourceStore(store), choice, list(chosen))
    command = command_again(str(kind), store, out, choice, names, bands, options)
    selection = ExportSelection(opened, rows, chosen, command)
    told = progress or NoProgress()
    told.start("exporting", len(rows.numbers), "patches")
    facts: dict[str, Any] = {
        "format": str(kind),
        "dataset": opened.manifest.dataset.name,
        "dataset_version": opened.manifest.dataset.version,
        "metadata_digest": opened.manifest.metadata_digest,
        "classes": opened.manifest.classes,
        "rows": len(rows.numbers),
    }
    with unfinished_folder(folder, facts) as unfinished:
        written = write_format(kind, selection, unfinished, told, options)
        if written.shards:
            facts["shards"] = written.shards
    notes += [
        *written.notes,
        *lost_with_bands(opened.manifest, chosen, "exported"),
        *_left_behind(folder),
    ]
    return _exported(os.fspath(out), kind, rows, written, notes, time.monotonic() - begun)


def _flagged_note(store: Store) -> list[str]:
    flagged = store.manifest.flagged.rows
    if not flagged:
        return []
    return [
        "patches that their publisher does not recommend are left out, of which the store has "
        f"{flagged:,}: --flagged include writes them"
    ]


def _left_behind(folder: Path) -> list[str]:
    left = left_behind(folder)
    if not left:
        return []
    return [f"an export to here that was killed left {folder.parent / left[0]}: remove it"]


def _exported(
    out: str,
    kind: ExportFormat,
    rows: ChosenRows,
    written: Written,
    notes: Sequence[str],
    seconds: float,
) -> Exported:
    return Exported(
        out=out,
        format=str(kind),
        rows=len(rows.numbers),
        files=written.files,
        bytes=written.bytes,
        records=written.records,
        seconds=seconds,
        left_out=rows.left_out,
        absent=rows.absent,
        passed_by=rows.passed_by,
        notes=tuple(notes),
    )
