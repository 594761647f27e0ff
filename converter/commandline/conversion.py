"""Commands that make a store of a source: `convert`, `missing`, `datasets`, `describe`."""

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from patchpress.converter.arguments import (
    Block,
    BlockShares,
    Buffer,
    Dataset,
    Overwrite,
    Store,
    Verbose,
    ZstdWindow,
    choice,
    dataset_option,
    decimal,
    parse_paths,
    whole,
)
from patchpress.converter.commandline.app import command
from patchpress.converter.exits import going_on_later, output
from patchpress.converter.options import (
    Codec,
    ConvertKeywords,
    Layout,
    Nan,
    OnError,
    Resampling,
    Size,
    SplitBy,
    Writer,
)
from patchpress.converter.paths import place
from patchpress.converter.stderr import say
from patchpress.readers.errors import OptionError, TargetError

if TYPE_CHECKING:
    from patchpress.converter.commands.finished_before import FinishedBefore
    from patchpress.converter.commands.shard_report import ShardReport
    from patchpress.converter.storage.report import Report


@command()
def convert(
    dataset: Dataset,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="Folder with the dataset as published, unpacked or in its archives.",
        ),
    ],
    store: Annotated[
        str,
        typer.Argument(
            parser=place, metavar="STORE", help="Folder to write; or with --shards a URL."
        ),
    ],
    modality: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Convert only this modality; may be repeated."),
    ] = None,
    layout: Annotated[
        Layout, choice(Layout, "Store one array a patch on the finest grid, or one a band.")
    ] = Layout.stacked,
    resampling: Annotated[
        Resampling, choice(Resampling, "How coarser bands come to the finest grid.")
    ] = Resampling.nearest,
    compression: Annotated[Codec, choice(Codec, "Compress each record.")] = Codec.none,
    level: Annotated[
        int | None, whole("Level of zstd, 1 to 22; 3 if it is not given.", "LEVEL")
    ] = None,
    workers: Annotated[
        int | None,
        whole(
            "Processes that decode, beside the one that writes; one a CPU if it is not given, "
            "and with 0 the one that writes decodes, too."
        ),
    ] = None,
    on_error: Annotated[
        OnError, choice(OnError, "Stop at a damaged patch, or leave it out and report it.")
    ] = OnError.stop,
    overwrite: Overwrite = False,
    limit: Annotated[
        int | None, whole("Convert only N patches, spread over the source, and their partners.")
    ] = None,
    split: Annotated[
        SplitBy,
        choice(SplitBy, "Take the split from the official lists, from the place, or none."),
    ] = SplitBy.official,
    block: Block = None,
    shares: BlockShares = None,
    buffer: Buffer = None,
    validation: Annotated[
        float, decimal("Share of train that becomes validation, drawn scene by scene.", "SHARE")
    ] = 0.0,
    seed: Annotated[
        int, whole("Number that the draw of validation scenes, or of blocks, begins with.")
    ] = 0,
    nan: Annotated[
        Nan, choice(Nan, "Treat patches with NaN as damaged, or store them as they are.")
    ] = Nan.refuse,
    size: Annotated[
        Size,
        choice(
            Size,
            "Keep, crop, pad or resize a patch of another size than its description gives; auto "
            "does what the description says.",
        ),
    ] = Size.auto,
    path: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH", help="A modality or table that lies elsewhere; may be repeated."
        ),
    ] = None,
    writer: Annotated[
        Writer,
        choice(Writer, "Write data.mdb in pages, which is faster, or by LMDB; auto chooses."),
    ] = Writer.auto,
    check_md5: Annotated[
        bool, typer.Option("--check-md5", help="Compare archives with their published MD5.")
    ] = False,
    zstd_window: ZstdWindow = "128MiB",
    shards: Annotated[
        int | None, whole("Make a store of N data files, which may be made one by one.")
    ] = None,
    shard: Annotated[
        int | None,
        whole("Make only this one of the shards, from 0; `merge STORE` finishes the store.", "I"),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS|FILE|local",
            help="Let the workers of a Dask scheduler make the shards; local starts some here.",
        ),
    ] = None,
    scratch: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder where shards are made for a URL, or by workers on their disks.",
        ),
    ] = None,
    shard_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="So many shards that each has about this size: 10GB."),
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done; nothing is written.")
    ] = False,
    verbose: Verbose = 0,
) -> None:
    """Convert a published dataset, once, to a store that training reads."""
    options = ConvertKeywords(
        modalities=modality or None,
        layout=layout,
        resampling=resampling,
        compression=compression,
        level=level,
        workers=workers,
        on_error=on_error,
        overwrite=overwrite,
        limit=limit,
        paths=parse_paths(path),
        split=split,
        validation=validation,
        seed=seed,
        block=block,
        shares=shares,
        buffer=buffer,
        nan=nan,
        size=size,
        writer=writer,
        check_md5=check_md5,
        zstd_window=zstd_window,
        shards=shards,
        scheduler=scheduler,
        scratch=scratch,
    )
    from patchpress.converter.commands.which_shard import shards_of_size, which_shard

    environment = {} if dry or scheduler is not None else os.environ
    if shard_size is not None:
        if shards is not None or shard is not None:
            raise OptionError(
                f"give --shard-size {shard_size} or --shards, not both; for one shard give --shards"
            )
        sharding = shards_of_size(dataset, source, store, shard_size, options, environment)
    else:
        sharding = which_shard(store, shards, shard, environment)
    if sharding.told:
        say(f"patchpress: {sharding.told}")
    options["shards"] = sharding.shards
    if dry:
        _foretell(dataset, source, store, options)
    from patchpress.converter.commands.convert import convert as convert_dataset
    from patchpress.converter.progress import progress_for_terminal

    gc.freeze()  # to search all that was imported for cycles, once more, takes some 30 ms
    report: Report | ShardReport | FinishedBefore
    with going_on_later(), progress_for_terminal() as progress:
        if sharding.shard is None:
            report = convert_dataset(dataset, source, store, progress=progress, **options)
        else:
            from patchpress.converter.commands.convert_shards import convert_shard

            report = convert_shard(
                dataset, source, store, sharding.shard, progress=progress, **options
            )
    output(report.text())
    raise typer.Exit(report.exit_code)


def _foretell(dataset: str, source: Path, store: str, options: ConvertKeywords) -> NoReturn:
    """Print what a conversion would do, and end with its exit code, as far as that is known."""
    from patchpress.converter.commands.dry_run import dry_run

    forecast = dry_run(dataset, source, store, **options)
    output(forecast.text())
    if forecast.lack:
        raise TargetError(forecast.lack)
    raise typer.Exit(forecast.exit_code)


@command()
def missing(store: Store, verbose: Verbose = 0) -> None:
    """Print the numbers of the shards that a store lacks, as `sbatch --array` takes them."""
    from patchpress.converter.commands.missing import missing_shards
    from patchpress.converter.text import number_ranges

    numbers = missing_shards(store)
    if numbers:
        output(number_ranges(numbers))


@command()
def datasets(
    show: Annotated[
        str | None, dataset_option("Print the TOML description of this dataset.")
    ] = None,
    guess: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Say which descriptions fit this folder of patches or archives.",
        ),
    ] = None,
    verbose: Verbose = 0,
) -> None:
    """List what can be converted, and what each dataset must look like on disk."""
    from patchpress.converter.commands.datasets import datasets as known_datasets

    output(known_datasets(show=show, guess=guess))


@command()
def describe(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of patches that nobody described.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="File to write; stdout if it is not given."),
    ] = None,
    verbose: Verbose = 0,
) -> None:
    """Write a first description (TOML) of a folder of patches that nobody described."""
    from patchpress.converter.commands.describe import describe as describe_folder

    found = describe_folder(folder, out)
    if out is None:
        output(found.toml.rstrip())
        for text in found.text().splitlines():
            say(text)
    else:
        output(found.text())
