"""`copy`: a part of a store as a store, or all of it; records as they are stored."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from patchpress.converter.allocation import large_blocks_given_back
from patchpress.converter.commands.copied import Copied, write_copy
from patchpress.converter.paths import StrPath, local_path, shown_place
from patchpress.converter.progress import NoProgress, Progress
from patchpress.converter.transfer.bands_option import band_words
from patchpress.converter.transfer.plan import check_shards, modalities_asked, plan_part
from patchpress.converter.transfer.row_choice import RowChoice, choose_rows, names_or_file
from patchpress.converter.transfer.source_store import SourceStore
from patchpress.converter.transfer.upload import upload
from patchpress.readers.choice import Bands, Where
from patchpress.readers.errors import OptionError
from patchpress.readers.format.manifest import read_manifest
from patchpress.readers.format.table import HasRowNumbers, Split
from patchpress.readers.remote.url import is_url


def copy_store(
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
    shards: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Copied:
    """Copy a store, or a part of it, to a new store.

    Each record is compared with its checksum and stored as it is; with `bands` it is made anew of
    its stored pixels. If it is interrupted, the same call goes on.

    Args:
        store: folder of the store, or its URL: then no more than what is copied is requested.
        out: folder to write; or a URL, to which the whole store is sent as it is.
        split: a split, several, or samples; all rows for None.
        where: column -> value, or values of which a row must have one; or a pyarrow expression.
        flagged: rows that their publisher does not recommend: as `Store.table` has it.
        keys: names of patches, or the path of a file with them: one a line, or a column of a
            Parquet or CSV table.
        modalities: names; all for None. Rows without a record of any of them are left out.
        bands: of images: names, a set such as `rgb` or `10m`, or either for each modality.
        fraction: so large a share of the rows, in which each class has its share, too.
        per_class: so many rows of each class, or all that there are.
        target: the label column that `fraction` and `per_class` look at; the store's target for
            None.
        seed: decides which rows these take.
        shards: how many data files; 0 for one ``data.mdb``, None for as many as the store has.
        overwrite: replace a finished store.
        progress: told of each chunk of records.

    Raises:
        SelectionEmpty: nothing is left to copy; the message says at which wish.
        OptionError, BandMissing, SourceMissing, TableError: a wish that the store cannot fulfil.
        StoreError: there is no finished store, or it is damaged.
        TargetError: the folder cannot be written, or has something else.
    """
    check_shards(shards)
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
    if is_url(out):
        if shards is not None or choice != RowChoice(seed=seed) or modalities or bands:
            raise OptionError(
                f"{shown_place(out)} is a URL, to which whole stores are sent: copy the part to a "
                "folder first, and then that folder to the URL"
            )
        if is_url(store):
            raise OptionError(
                f"{shown_place(store)} and {shown_place(out)} are both URLs: copy the store to a "
                "folder first, and then that folder to the URL"
            )
        return _sent(local_path(store), os.fspath(out), progress or NoProgress(), overwrite)
    source = SourceStore(store)
    names = [modalities] if isinstance(modalities, str) else modalities
    chosen = modalities_asked(source.manifest, names, bands)
    with large_blocks_given_back():
        rows = choose_rows(source, choice, list(chosen))
        said = _in_words(choice, names, bands, len(rows.numbers))
        plan = plan_part(source, chosen, rows, shards, said)
    return write_copy(
        local_path(out), os.fspath(out), plan, "copy", rows, progress, overwrite=overwrite
    )


def _sent(store: Path, url: str, progress: Progress, overwrite: bool) -> Copied:
    """Send a whole store to a URL."""
    begun = time.monotonic()
    is_new = upload(store, url, progress, overwrite=overwrite)
    notes = () if is_new else ("that very store is there already: nothing was sent",)
    taken = time.monotonic() - begun
    return Copied(shown_place(url), read_manifest(store), taken, notes=notes)


def _in_words(choice: RowChoice, modalities: Sequence[str] | None, bands: Bands, rows: int) -> str:
    """The choice as the options of the command, without any path; for the manifest."""
    words: list[str] = []
    if isinstance(choice.split, HasRowNumbers):
        words.append(f"{rows:,} chosen rows")
    elif choice.split is not None:
        splits = [choice.split] if isinstance(choice.split, str) else choice.split
        words += [f"--split {name}" for name in splits]
    words += _where_words(choice.where)
    if choice.flagged is not None:
        words.append(f"--flagged {choice.flagged}")
    if choice.keys is not None:
        words.append(f"--keys of {rows:,} rows")
    words += [f"--modality {name}" for name in modalities or ()]
    words += [f"--bands {one}" for one in band_words(bands)]
    if choice.fraction is not None:
        words.append(f"--fraction {choice.fraction}")
    if choice.per_class is not None:
        words.append(f"--per-class {choice.per_class}")
    if choice.target is not None:
        words.append(f"--target {choice.target}")
    if choice.fraction is not None or choice.per_class is not None:
        words.append(f"--seed {choice.seed}")
    return " ".join(words)


def _where_words(where: Where) -> list[str]:
    if where is None:
        return []
    if not isinstance(where, Mapping):
        return [f"--where {where}"]
    return [
        f"--where {column}={value}"
        for column, values in where.items()
        for value in (values if isinstance(values, (list, tuple, set)) else [values])
    ]


def split_store(
    store: StrPath,
    out: StrPath,
    *,
    shards: int,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Copied:
    """Store a store again in so many shards, or in one data file; else `out` has all that it has.

    Args:
        store: folder of the store.
        out: folder to write; or a URL, to which the whole store is sent as it is.
        shards: how many; 0 for one ``data.mdb``.
        overwrite: replace a finished store.
        progress: told of each chunk of records.

    Raises:
        OptionError, StoreError, TargetError: as `copy_store`.
    """
    return copy_store(store, out, shards=shards, overwrite=overwrite, progress=progress)
