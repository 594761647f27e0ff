"""`index`: rebuilds the extents of a store, or makes one of archives or another program's LMDB."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Unpack

from patchpress.converter.block_options import BlockRule, Shares, block_rule
from patchpress.converter.collections import rarely_collected
from patchpress.converter.commands.adopt import adopt
from patchpress.converter.commands.index_archives import (
    AsLying,
    IndexKeywords,
    index_archives,
    index_options,
)
from patchpress.converter.commands.indexed_again import IndexAgain
from patchpress.converter.commands.indexed_again import Indexed as Indexed
from patchpress.converter.commands.resplit import Resplit, resplit
from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.parse import built_in_descriptions, find_description
from patchpress.converter.options import TableSplit, member
from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.progress import NoProgress, Progress
from patchpress.converter.storage.folder import writing
from patchpress.converter.storage.replaced_table import finish_replaced
from patchpress.converter.storage.report import Report
from patchpress.readers.errors import OptionError, StoreMissing
from patchpress.readers.format.manifest import DATA, MANIFEST, MARKER, Manifest, read_manifest


@rarely_collected()
def index(
    store: StrPath,
    dataset: StrPath | None = None,
    *,
    paths: Mapping[str, StrPath] | None = None,
    split: TableSplit | Literal["geographic"] | None = None,
    block: str | None = None,
    shares: Shares = None,
    seed: int = 0,
    buffer: str | None = None,
    archives: Sequence[StrPath] = (),
    progress: Progress | None = None,
    **options: Unpack[IndexKeywords],
) -> Indexed | Report | Resplit | AsLying:
    """Rebuild the extents of a finished store, or make one of archives or of another's LMDB.

    With `split` a finished store gets other splits instead, and no record is read.

    With `archives` the patches in them become a store as they lie: no pixel is copied, and nothing
    is written to them. All is read once, and each record is compared with what readers will put
    together. If the store is one of these archives already, and they lie elsewhere now, only that
    is noted.

    If another program added, removed or replaced records of a finished store, its table and its
    manifest are made anew, too, and the result says what changed. The pages of the data file are
    read without LMDB: it must have the data format of LMDB 0.9.

    Args:
        store: folder with the data file.
        dataset: name of the description by which records without a manifest are known, or the path
            of a TOML file; for a finished store only if records of a description that is not built
            in changed.
        paths: tables and lists of the dataset, by their names in the description, for records that
            are new.
        split: ``geographic``, with a `block`: the rows of a finished store get these splits; those
            that it had stay in the column `source_split`.
        block: side of the blocks of ground that share a split, such as ``10km``.
        shares: of train, validation and test; 0.7, 0.15 and 0.15 for None.
        seed: decides which blocks go where.
        buffer: how near to another split a patch may be without losing its own, such as ``1km``.
        archives: tar files and zip archives that are not compressed, or folders that have them.
        progress: told of every few records that are read.
        options: with `archives` alone: ``modalities``, ``workers``, ``on_error``, ``nan`` and
            ``overwrite``, as of `convert`.

    Raises:
        StoreMissing, StoreUnfinished, StoreDamaged, FormatUnknown: there is nothing to index.
        OptionError, DescriptionError, SourceError: as `patchpress.converter.commands.adopt.adopt`.
        SelectionEmpty: no patch has a georeference by which it could be split.
        TargetError: the folder cannot be written.
    """
    folder, progress = local_path(store), progress or NoProgress()
    located = {name: local_path(path) for name, path in (paths or {}).items()}
    if archives:
        for name, value in (("split", split), ("block", block), ("shares", shares),
                            ("buffer", buffer), ("seed", seed)):  # fmt: skip
            if value:
                raise OptionError(
                    f"{name} is of a finished store: index the archives first, then run "
                    f"`patchpress index {folder} --split geographic --block 10km`"
                )
        asked = index_options(located, options)
        given = [local_path(path) for path in archives]
        return index_archives(given, folder, dataset, asked, progress)
    for name in options:
        raise OptionError(f"{name} is for archives that become a store: leave it out")
    _refuse_a_file(folder)
    with writing(folder):
        finish_replaced(folder)
    if split is not None or block is not None or shares is not None or buffer is not None:
        if paths:
            raise OptionError(
                f"--path {next(iter(paths))} has no effect with --split: leave it out"
            )
        rule = _block_rule(split, block, shares, buffer, seed)
        manifest = read_manifest(folder)
        return resplit(folder, manifest, rule, _known_description(manifest, dataset))
    if seed:
        raise OptionError(f"seed {seed} has no effect without --split: leave it out")
    if dataset is not None and _is_adoptable(folder):
        return adopt(folder, find_description(dataset), located, progress)
    manifest = read_manifest(folder)
    if manifest.in_archives:
        raise OptionError(
            f"{folder} reads its pixels in archives, and has no extents: `patchpress verify` "
            "compares them, and the archives themselves are indexed again if they are given, too"
        )
    return IndexAgain(folder, manifest, dataset, located, progress).run()


def _block_rule(
    split: str | None, block: str | None, shares: Shares, buffer: str | None, seed: int
) -> BlockRule:
    """How the rows of a finished store are split.

    Raises:
        OptionError: no block, or a value that cannot be.
    """
    if split is not None:
        member(TableSplit, "split", split)
    rule = block_rule(split or "official", block, shares, buffer, seed)
    if rule is None:
        raise OptionError(
            "--split geographic of a store needs blocks of ground: give --block 10km "
            "(`patchpress split-table` splits a table by names)"
        )
    return rule


def _known_description(manifest: Manifest, dataset: StrPath | None) -> Description | None:
    """The description of a store's data set; None if it is not known here.

    Raises:
        OptionError: one is given, and it is of another data set.
    """
    name = manifest.dataset.name
    if dataset is None:
        return find_description(name) if name in built_in_descriptions() else None
    description = find_description(dataset)
    if description.dataset.name != name:
        raise OptionError(
            f"the store is one of {name}, not of {description.dataset.name}: give its own "
            "--dataset, or none"
        )
    return description


def _refuse_a_file(path: Path) -> None:
    """Say how an LMDB that is one file becomes a folder.

    Raises:
        StoreMissing: it is a file.
    """
    if path.is_file():
        folder = path.with_suffix("") if path.suffix else path.with_name(f"{path.name}.store")
        raise StoreMissing(
            f"{path} is a file, and a store is a folder: if it is an LMDB in one file, make one of "
            f"it by `mkdir {folder} && ln {path} {folder}/{DATA}`, and give {folder}"
        )


def _is_adoptable(store: Path) -> bool:
    """Whether the records are another program's, and may be adopted, or adopted again."""
    if (store / MANIFEST).exists():
        return "adopted" in read_manifest(store).options
    return (store / DATA).exists() and not (store / MARKER).exists()
