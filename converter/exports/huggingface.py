"""A folder for the Hugging Face Hub: Parquet files of each split, a picture, a card."""

from pathlib import Path

from patchpress.converter.exports.croissant import croissant_bytes
from patchpress.converter.exports.exported import Written
from patchpress.converter.exports.hub_card import card_text
from patchpress.converter.exports.hub_files import SplitFiles
from patchpress.converter.exports.hub_folder import HubFolder
from patchpress.converter.exports.hub_pixels import pixel_columns
from patchpress.converter.exports.hub_rows import hub_rows
from patchpress.converter.exports.hub_splits import SplitNames
from patchpress.converter.exports.own_size import own_size_notes
from patchpress.converter.exports.previews import previews_of
from patchpress.converter.exports.samples import arrays_of_row, grid_notes
from patchpress.converter.exports.selection import ExportSelection
from patchpress.converter.progress import Progress


def export_hf(
    selection: ExportSelection, folder: Path, progress: Progress, *, shard_size: int
) -> Written:
    """Write rows as Parquet files that `datasets` reads, with a card and croissant.json.

    Args:
        selection: the rows.
        folder: an empty one, which is filled.
        progress: told of each patch.
        shard_size: bytes after which a file ends.

    Raises:
        OptionError: a dtype that Parquet does not have.
        StoreDamaged: a record differs from its checksum, or a label is none of the classes.
    """
    (folder / "data").mkdir()
    pixels = [one for m in selection.modalities.values() for one in pixel_columns(m)]
    rows_of, others = hub_rows(selection, pixels)
    previews = previews_of(selection)
    names, written = SplitNames(selection.manifest.splits), Written()
    files: dict[str, SplitFiles] = {}
    try:
        for rows in selection.batches():
            table = rows_of.table(rows)
            splits = names.of_rows(selection.splits(rows))
            for number, split in enumerate(splits):
                before = written.bytes
                arrays = arrays_of_row(selection, rows, number, written)
                shown = rows.keys[previews.modality.name][number]
                image = previews.png(shown, arrays) if shown is not None else None
                if split not in files:
                    files[split] = SplitFiles(folder / "data", split, rows_of, shard_size)
                files[split].add(table.slice(number, 1), arrays, image)
                progress.advance(1, written.bytes - before)
        for one in files.values():
            one.finish()
    finally:
        for one in files.values():
            one.close()
    order = [name for name in names.known if name in files]
    hub = HubFolder(selection, rows_of, tuple(files[name].facts for name in order), previews.text)
    written.notes = [*_notes(others), *names.notes(), *_absent(hub)]
    written.notes += [*grid_notes(selection), *own_size_notes(selection)]
    (folder / "README.md").write_text(card_text(hub, written.notes), encoding="utf-8")
    (folder / "croissant.json").write_bytes(croissant_bytes(hub))
    written.shards = {name: rows for one in hub.splits for name, rows in one.files.items()}
    written.files = len(written.shards)
    return written


def _notes(others: list[str]) -> list[str]:
    if not others:
        return []
    return [f"columns of types that datasets does not have are left out: {', '.join(others)}"]


def _absent(hub: HubFolder) -> list[str]:
    """A sentence for each modality that some rows lack."""
    rows = sum(split.rows for split in hub.splits)
    return [
        f"rows without {column.name}, which is null there: {rows - have:,}"
        for column in hub.rows.pixels
        if (have := sum(split.arrays.get(column.source, 0) for split in hub.splits)) < rows
    ]
