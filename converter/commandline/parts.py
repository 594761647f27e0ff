"""Commands that make stores of other stores: `copy`, `split`, `merge`, `stage`, `index`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchpress.converter.arguments import (
    DATASET,
    Block,
    BlockShares,
    Buffer,
    Flagged,
    Fraction,
    KeysFile,
    Modalities,
    Overwrite,
    PartBands,
    PartSeed,
    PartTarget,
    PerClass,
    Splits,
    Store,
    Verbose,
    Wheres,
    choice,
    dataset_option,
    parse_paths,
    whole,
)
from patchpress.converter.commandline.app import command
from patchpress.converter.exits import going_on_later, output
from patchpress.converter.options import Nan, OnError, TableSplit
from patchpress.converter.paths import place
from patchpress.readers.errors import OptionError

if TYPE_CHECKING:
    from patchpress.converter.commands.index_archives import IndexKeywords

_SHARDS = "Data files of the new store: 0 for one data.mdb; as before if it is not given."


@command()
def copy(
    store: Store,
    out: Annotated[
        str, typer.Argument(parser=place, metavar="OUT", help="Folder to write, or a URL.")
    ],
    split: Splits = None,
    where: Wheres = None,
    flagged: Flagged = None,
    keys: KeysFile = None,
    modality: Modalities = None,
    bands: PartBands = None,
    fraction: Fraction = None,
    per_class: PerClass = None,
    target: PartTarget = None,
    seed: PartSeed = 0,
    shards: Annotated[int | None, whole(_SHARDS)] = None,
    overwrite: Overwrite = False,
    verbose: Verbose = 0,
) -> None:
    """Copy a store, or a part of it, to a new store, each record as it is stored."""
    from patchpress.converter.commands.copy_store import copy_store
    from patchpress.converter.commands.statistics_rows import parse_where
    from patchpress.converter.progress import progress_for_terminal
    from patchpress.converter.transfer.bands_option import parse_bands

    with going_on_later(), progress_for_terminal() as progress:
        copied = copy_store(
            store,
            out,
            split=split or None,
            where=parse_where(store, where or []),
            flagged=None if flagged is None else str(flagged),
            keys=keys,
            modalities=modality or None,
            bands=parse_bands(bands or []),
            fraction=fraction,
            per_class=per_class,
            target=target,
            seed=seed,
            shards=shards,
            overwrite=overwrite,
            progress=progress,
        )
    output(copied.text())


@command()
def split(
    store: Store,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.")],
    shards: Annotated[int, whole("Data files of the new store; 0 for one data.mdb.")],
    overwrite: Overwrite = False,
    verbose: Verbose = 0,
) -> None:
    """Store a store again in several data files, its shards, or in one."""
    from patchpress.converter.commands.copy_store import split_store
    from patchpress.converter.progress import progress_for_terminal

    with going_on_later(), progress_for_terminal() as progress:
        copied = split_store(store, out, shards=shards, overwrite=overwrite, progress=progress)
    output(copied.text())


@command()
def merge(
    stores: Annotated[
        list[str],
        typer.Argument(
            parser=place,
            metavar="STORE... [OUT]",
            help="Folder or URL of a store whose shards are all made; or folders of several "
            "stores, and that to write.",
        ),
    ],
    shards: Annotated[int | None, whole(_SHARDS)] = None,
    overwrite: Overwrite = False,
    verbose: Verbose = 0,
) -> None:
    """Finish a store that was made shard by shard; of several folders, join stores to a new one."""
    from patchpress.converter.progress import progress_for_terminal

    *parts, out = stores
    if not parts and (shards is not None or overwrite):
        raise OptionError(
            "--shards and --overwrite are for the store that several are joined to: "
            "give those and OUT"
        )
    with going_on_later(), progress_for_terminal() as progress:
        if not parts:
            from patchpress.converter.commands.finish import finish_store

            report = finish_store(out, progress=progress)
            text, code = report.text(), report.exit_code
        else:
            from patchpress.converter.commands.merge_stores import merge_stores

            merged = merge_stores(parts, out, shards=shards, overwrite=overwrite, progress=progress)
            text, code = merged.text(), 0
    output(text)
    raise typer.Exit(code)


@command()
def stage(
    store: Store,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder on a local disk.")],
    size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="The most bytes of all copies in DIR, as in 200GB."),
    ] = None,
    verbose: Verbose = 0,
) -> None:
    """Copy the data files of a store to a disk of this machine, for jobs that read it there."""
    from patchpress.converter.commands.stage import stage as stage_store
    from patchpress.converter.progress import progress_for_terminal

    with progress_for_terminal() as progress:
        staged = stage_store(store, folder, size=size, progress=progress)
    output(staged.text())


@command()
def index(
    stores: Annotated[
        list[str],
        typer.Argument(
            parser=place,
            metavar="STORE|ARCHIVE… [STORE]",
            help="Folder of a store; or archives that are not compressed, then the folder of the "
            "store that they become.",
        ),
    ],
    dataset: Annotated[
        str | None,
        dataset_option(f"Make archives, or records of another program, a store. {DATASET}"),
    ] = None,
    path: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="A table or list of that dataset; may be repeated."),
    ] = None,
    modality: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Of archives, only this modality; may be repeated."),
    ] = None,
    workers: Annotated[
        int | None,
        whole("Processes that decode archives, beside the one that writes; one a CPU by default."),
    ] = None,
    on_error: Annotated[
        OnError | None,
        choice(OnError, "Stop at a patch of an archive that is damaged, or leave it out."),
    ] = None,
    nan: Annotated[
        Nan | None, choice(Nan, "Treat patches with NaN in archives as damaged, or keep them.")
    ] = None,
    overwrite: Overwrite = False,
    split: Annotated[
        TableSplit | None,
        choice(TableSplit, "Give the rows of a finished store other splits, by blocks of ground."),
    ] = None,
    block: Block = None,
    shares: BlockShares = None,
    buffer: Buffer = None,
    seed: Annotated[int, whole("Number that the draw of blocks begins with.")] = 0,
    verbose: Verbose = 0,
) -> None:
    """Index a store again, or split it; or make archives, or another program's LMDB, a store."""
    from patchpress.converter.commands.index import index as index_store
    from patchpress.converter.progress import progress_for_terminal
    from patchpress.converter.sources.given_archives import archives_and_store

    with progress_for_terminal() as progress:
        archives, store = archives_and_store(stores, dataset)
        options: IndexKeywords = {}
        if modality:
            options["modalities"] = modality
        if workers is not None:
            options["workers"] = workers
        if on_error is not None:
            options["on_error"] = on_error
        if nan is not None:
            options["nan"] = nan
        if overwrite:
            options["overwrite"] = overwrite
        found = index_store(
            store,
            dataset,
            archives=archives,
            **options,
            paths=parse_paths(path),
            split=split,
            block=block,
            shares=shares,
            buffer=buffer,
            seed=seed,
            progress=progress,
        )
    output(found.text())
