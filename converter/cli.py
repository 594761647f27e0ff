"""The command `patchpress`: one library call a command; results to stdout, the rest to stderr."""

import patchpress.converter.startup  # noqa: F401 -- before all others

# isort: split

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from typer.core import TyperCommand

from patchpress.converter.addressspace import TO_BEGIN, require_address_space
from patchpress.converter.arguments import (
    DATASET,
    Dataset,
    Store,
    Verbose,
    ZstdWindow,
    choice,
    dataset_option,
    decimal,
    parse_paths,
    whole,
)
from patchpress.converter.exits import UsageError, going_on_later, output, run
from patchpress.converter.options import (
    Codec,
    ConvertKeywords,
    FlaggedChoice,
    Layout,
    Nan,
    OnError,
    Resampling,
    Size,
    SplitBy,
    TableSplit,
    Writer,
)
from patchpress.converter.paths import place
from patchpress.converter.stderr import say
from patchpress.readers.errors import OptionError, TargetError

Function = TypeVar("Function", bound=Callable[..., None])

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: what draws boxes takes longer to load than a small store
)


_SHARDS = "Data files of the new store: 0 for one data.mdb; as before if it is not given."
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a finished store.")]


class _Command(TyperCommand):
    """A command whose errors name the command that they are about."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words; some errors of click have no context, and get this one."""
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            error.ctx = error.ctx or ctx
            raise


def _command(name: str | None = None) -> Callable[[Function], Function]:
    """A command whose first sentence stands whole in the list of commands; Typer would cut it."""

    def register(function: Function) -> Function:
        @wraps(function)
        def work(*args: Any, **kwargs: Any) -> None:
            require_address_space(TO_BEGIN)
            function(*args, **kwargs)

        summary = (function.__doc__ or "").partition("\n\n")[0]
        app.command(name, cls=_Command, short_help=summary)(work)
        return function

    return register


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        output(f"patchpress {version('patchpress')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def patchpress_(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
    verbose: Verbose = 0,
) -> None:
    """Satellite patches in, training batches out."""
    if context.invoked_subcommand is None:
        output(context.get_help())


@_command()
def convert(
    dataset: Dataset,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="Folder with the dataset as published, unpacked or in its archives.",
        ),
    ],
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Folder to write.")],
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
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a finished store.")
    ] = False,
    limit: Annotated[
        int | None, whole("Convert only N patches, spread over the source, and their partners.")
    ] = None,
    split: Annotated[
        SplitBy,
        choice(SplitBy, "Take the split from the official lists, from the position, or none."),
    ] = SplitBy.official,
    validation: Annotated[
        float, decimal("Share of train that becomes validation, drawn scene by scene.", "SHARE")
    ] = 0.0,
    seed: Annotated[int, whole("Number that the draw of validation scenes begins with.")] = 0,
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
            metavar="DIR", help="Folder on each worker's disk for its shard; else the worker's own."
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
    from patchpress.converter.commands.convert_shards import ShardReport, convert_shard
    from patchpress.converter.progress import progress_for_terminal
    from patchpress.converter.storage.report import Report

    report: Report | ShardReport
    with going_on_later(), progress_for_terminal() as progress:
        if sharding.shard is None:
            report = convert_dataset(dataset, source, store, progress=progress, **options)
        else:
            report = convert_shard(
                dataset, source, store, sharding.shard, progress=progress, **options
            )
    output(report.text())
    raise typer.Exit(report.exit_code)


def _foretell(dataset: str, source: Path, store: Path, options: ConvertKeywords) -> NoReturn:
    """Print what a conversion would do, and end with its exit code, as far as that is known."""
    from patchpress.converter.commands.dry_run import dry_run

    forecast = dry_run(dataset, source, store, **options)
    output(forecast.text())
    if forecast.lack:
        raise TargetError(forecast.lack)
    raise typer.Exit(forecast.exit_code)


@_command()
def missing(store: Store, verbose: Verbose = 0) -> None:
    """Print the numbers of the shards that a store lacks, as `sbatch --array` takes them."""
    from patchpress.converter.commands.missing import missing_shards
    from patchpress.converter.text import number_ranges

    numbers = missing_shards(store)
    if numbers:
        output(number_ranges(numbers))


@_command()
def verify(
    store: Store,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="SOURCE",
            help="Folder of the source, unpacked or archives: compare every pixel with it, too.",
        ),
    ] = None,
    path: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATH", help="A modality that lies elsewhere; may be repeated."),
    ] = None,
    workers: Annotated[
        int | None, whole("Processes that decode the source; one a CPU if it is not given.")
    ] = None,
    dataset: Annotated[
        str | None,
        dataset_option("TOML file that describes the dataset, if it is one of your own."),
    ] = None,
    zstd_window: ZstdWindow = "128MiB",
    verbose: Verbose = 0,
) -> None:
    """Read every record back: count, checksum, shape; with a source, every pixel."""
    from patchpress.converter.commands.verify import verify as verify_store
    from patchpress.converter.progress import progress_for_terminal

    with progress_for_terminal() as progress:
        verdict = verify_store(
            store,
            against,
            paths=parse_paths(path),
            workers=workers,
            dataset=dataset,
            zstd_window=zstd_window,
            progress=progress,
        )
    output(verdict.text())
    raise typer.Exit(0 if verdict.good else 1)


@_command()
def inspect(
    store: Store,
    key: Annotated[
        str | None,
        typer.Argument(metavar="KEY", help="Show this record; the store if it is not given."),
    ] = None,
    verbose: Verbose = 0,
) -> None:
    """Show what is in a store, or in one of its records."""
    from patchpress.converter.commands.inspect import inspect as inspect_store

    output(inspect_store(store, key))


@_command()
def plot(
    store: Store,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Picture to write, as .png, .jpg or .pdf.")
    ],
    keys: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEYS", help="Records to draw; the first few if none is given."),
    ] = None,
    verbose: Verbose = 0,
) -> None:
    """Draw records: in colour if they have red, green and blue bands, else grey or by class."""
    from patchpress.converter.commands.plot import plot as plot_records

    output(plot_records(store, keys, out=out))


@_command()
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


@_command("split-table")
def split_table(
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="Parquet table with a column patch_id.")
    ],
    split: Annotated[
        TableSplit, choice(TableSplit, "The rule that makes the split.")
    ] = TableSplit.geographic,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="File to write.")] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Replace the table itself, instead of --out.")
    ] = False,
    verbose: Verbose = 0,
) -> None:
    """Write a table of patches with another split, by the position of each patch in its tile."""
    from patchpress.converter.commands.split_table import split_table as split_rows

    counts = split_rows(table, out, split=split, in_place=in_place)
    lines = [f"{name:<12} {rows:,}" for name, rows in counts.items()]
    output("\n".join([f"{out or table}: {split} split", *lines]))


@_command()
def stats(
    store: Store,
    split: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Count only this split; may be repeated. All records if it is not given.",
        ),
    ] = None,
    modality: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Count only this modality; may be repeated. All images if it is not given.",
        ),
    ] = None,
    flagged: Annotated[
        FlaggedChoice | None,
        choice(
            FlaggedChoice,
            "Patches that the publisher does not recommend; by default a split has none of them.",
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=VALUE",
            help="Count only rows with this value; may be repeated: a row must have one of the "
            "values of each column.",
        ),
    ] = None,
    workers: Annotated[
        int | None, whole("Processes that read and count; one a CPU if it is not given.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File to write; statistics.json in the store if it is not given."
        ),
    ] = None,
    verbose: Verbose = 0,
) -> None:
    """Compute mean, standard deviation, range and percentiles of each band, and keep them."""
    from patchpress.converter.commands.statistics_file import save_statistics, statistics_file
    from patchpress.converter.commands.statistics_rows import parse_where
    from patchpress.converter.commands.stats import compute, statistics_text
    from patchpress.converter.progress import progress_for_terminal

    file = statistics_file(store, out)
    with progress_for_terminal() as progress:
        found = compute(
            store,
            split or None,
            modality,
            flagged=None if flagged is None else str(flagged),
            where=parse_where(store, where or []),
            workers=workers,
            progress=progress,
        )
    output(statistics_text(store, found))  # first: if they cannot be kept, they are known
    save_statistics(store, found, file)


@_command()
def copy(
    store: Store,
    out: Annotated[
        str, typer.Argument(parser=place, metavar="OUT", help="Folder to write, or a URL.")
    ],
    split: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Copy only this split; may be repeated."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=VALUE",
            help="Copy only rows with this value; may be repeated: a row must have one of the "
            "values of each column.",
        ),
    ] = None,
    flagged: Annotated[
        FlaggedChoice | None,
        choice(
            FlaggedChoice,
            "Patches that the publisher does not recommend; by default a split has none of them.",
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Copy only patches that this file names: one a line, or a column of a table.",
        ),
    ] = None,
    modality: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Copy only this modality; may be repeated."),
    ] = None,
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


@_command()
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


@_command()
def merge(
    stores: Annotated[
        list[Path],
        typer.Argument(
            metavar="STORE... [OUT]",
            help="Folder of a store whose shards are all made; or those of several stores, and "
            "that to write.",
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


@_command()
def bench(
    store: Store,
    modality: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Modality to read; the store's first if it is not given."
        ),
    ] = None,
    batch: Annotated[int, whole("Records in a batch.")] = 64,
    seconds: Annotated[float, decimal("How long each measurement takes.", "SECONDS")] = 1.0,
    stage: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Stage the store in this folder, and measure it there."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the results to a JSON file, too.")
    ] = None,
    verbose: Verbose = 0,
) -> None:
    """Measure how fast this store reads here: warm and cold, singly, in batches, by the loader."""
    from patchpress.converter.commands.bench import bench as measure_store
    from patchpress.converter.progress import progress_for_terminal

    with progress_for_terminal() as progress:
        report = measure_store(
            store,
            modality=modality,
            batch=batch,
            seconds=seconds,
            stage=stage,
            progress=progress,
        )
    output(report.text())
    if out is not None:
        report.save(out)


@_command()
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


@_command()
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


def main() -> None:
    """Run the command."""
    run(app, "patchpress")


if __name__ == "__main__":
    main()
