"""Commands that make stores of other stores: `copy`, `split`, `merge`, `stage`, `index`."""

from pathlib import Path
from typing import Annotated

import typer

from patchpress.converter.arguments import (
    DATASET,
    KeysFile,
    Modalities,
    Overwrite,
    Splits,
    Store,
    Verbose,
    Wheres,
    choice,
    dataset_option,
    decimal,
    parse_paths,
    whole,
)
from patchpress.converter.commandline.app import command
from patchpress.converter.exits import going_on_later, output
from patchpress.converter.options import FlaggedChoice
from patchpress.converter.paths import place
from patchpress.readers.errors import OptionError

_SHARDS = "Data files of the new store: 0 for one data.mdb; as before if it is not given."


@command()
def copy(
    store: Store,
    out: Annotated[
        str, typer.Argument(parser=place, metavar="OUT", help="Folder to write, or a URL.")
    ],
    split: Splits = None,
    where: Wheres = None,
    flagged: Annotated[
        FlaggedChoice | None,
        choice(
            FlaggedChoice,
            "Patches that the publisher does not recommend; by default a split has none of them.",
        ),
    ] = None,
    keys: KeysFile = None,
    modality: Modalities = None,
    bands: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BANDS",
            help="Copy only these bands of images: rgb, 10m, B04,B03,B02, or s2=B04,B03 for one "
            "modality; may be repeated.",
        ),
    ] = None,
    fraction: Annotated[
        float | None,
        decimal("Copy this share of the rows, above 0 and at most 1, of each class alike.", "F"),
    ] = None,
    per_class: Annotated[int | None, whole("Copy so many patches of each class.")] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="The label column that --fraction and --per-class look at."
        ),
    ] = None,
    seed: Annotated[int, whole("Decides which patches --fraction and --per-class take.")] = 0,
    shards: Annotated[int | None, whole(_SHARDS)] = None,
    overwrite: Overwrite = False,
    verbose: Verbose = 0,
) -> None:
    """Copy a store, or a part of it, to a new store, each record as it is stored."""
    from patchpress.converter.commands.copy_store import copy_store, parse_bands
    from patchpress.converter.commands.statistics_rows import parse_where
    from patchpress.converter.progress import progress_for_terminal

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
    store: Store,
    dataset: Annotated[
        str | None,
        dataset_option(f"Make records of another program a store. {DATASET}"),
    ] = None,
    path: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="A table or list of that dataset; may be repeated."),
    ] = None,
    verbose: Verbose = 0,
) -> None:
    """Rebuild the index of a store; with a dataset, make the LMDB of another program a store."""
    from patchpress.converter.commands.index import index as index_store
    from patchpress.converter.progress import progress_for_terminal

    with progress_for_terminal() as progress:
        found = index_store(store, dataset, paths=parse_paths(path), progress=progress)
    output(found.text())
