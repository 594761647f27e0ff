"""The command `patchpress`: one library call a command; results to stdout, the rest to stderr."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import patchpress.converter.blas  # noqa: F401 -- before NumPy
from patchpress.converter.exits import run
from patchpress.converter.options import (
    Codec,
    ConvertOptions,
    FlaggedChoice,
    Layout,
    Nan,
    OnError,
    Resampling,
    SplitBy,
    TableSplit,
    Writer,
)
from patchpress.readers.errors import OptionError, TargetError

app = typer.Typer(
    help="Satellite patches in, training batches out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: what draws boxes takes longer to load than a small store
)

Store = Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the store.")]


@app.command()
def convert(
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET", help="Name as in `datasets`, or a .toml.")
    ],
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="Folder with the dataset as published, unpacked or in its archives.",
        ),
    ],
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Folder to write.")],
    modality: Annotated[
        list[str] | None, typer.Option(help="Only this modality; may be repeated.")
    ] = None,
    layout: Annotated[
        Layout, typer.Option(help="One array a patch, or one a band.")
    ] = Layout.stacked,
    resampling: Annotated[
        Resampling, typer.Option(help="How coarser bands are stacked.")
    ] = Resampling.nearest,
    compression: Annotated[Codec, typer.Option(help="Of each record.")] = Codec.none,
    level: Annotated[int | None, typer.Option(help="Level of zstd, 1 to 22; 3 without it.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes that decode; 0 for none beside the one that writes."),
    ] = None,
    on_error: Annotated[
        OnError, typer.Option(help="Stop at a damaged patch, or leave it out and report it.")
    ] = OnError.stop,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a finished store.")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="Only the first N patches.")] = None,
    split: Annotated[
        SplitBy, typer.Option(help="Official lists, the geographic rule, or no split.")
    ] = SplitBy.official,
    validation: Annotated[
        float, typer.Option(help="Share of train that becomes validation, scene by scene.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the drawn validation scenes.")] = 0,
    nan: Annotated[
        Nan, typer.Option(help="Patches with NaN: damaged, or stored as they are.")
    ] = Nan.refuse,
    path: Annotated[
        list[str] | None,
        typer.Option(help="A modality or table that lies elsewhere, as NAME=PATH."),
    ] = None,
    writer: Annotated[
        Writer,
        typer.Option(help="Of data.mdb: pages are faster, lmdb is LMDB itself; auto chooses."),
    ] = Writer.auto,
    check_md5: Annotated[
        bool, typer.Option("--check-md5", help="Compare archives with their published MD5.")
    ] = False,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would do; nothing is written.")
    ] = False,
) -> None:
    """Convert a published dataset, once, to a store that training reads."""
    options = ConvertOptions(
        modalities=tuple(modality) if modality else None,
        layout=layout,
        resampling=resampling,
        compression=compression,
        level=level,
        workers=workers,
        on_error=on_error,
        overwrite=overwrite,
        limit=limit,
        paths=_paths(path or []),
        split=split,
        validation=validation,
        seed=seed,
        nan=nan,
        writer=writer,
        check_md5=check_md5,
    )
    if dry:
        _foretell(dataset, source, store, options)
    from patchpress.converter.commands.convert import convert as convert_dataset
    from patchpress.converter.progress import progress_for_terminal

    with progress_for_terminal() as progress:
        report = convert_dataset(dataset, source, store, options, progress)
    print(report.text())
    raise typer.Exit(report.exit_code)


def _foretell(dataset: str, source: Path, store: Path, options: ConvertOptions) -> NoReturn:
    """Print what a conversion would do, and end as far as is known as it would end."""
    from patchpress.converter.commands.dry_run import dry_run

    forecast = dry_run(dataset, source, store, options)
    print(forecast.text())
    if forecast.lack:
        raise TargetError(forecast.lack)
    raise typer.Exit(forecast.exit_code)


@app.command()
def verify(
    store: Store,
    against: Annotated[
        Path | None,
        typer.Option(help="Source folder, unpacked or archives: compare every pixel, too."),
    ] = None,
    path: Annotated[
        list[str] | None, typer.Option(help="A modality that lies elsewhere, as NAME=PATH.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that decode.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="The .toml description, for a dataset of your own.")
    ] = None,
) -> None:
    """Read every record back: count, checksum, shape; with a source, every pixel."""
    from patchpress.converter.commands.verify import verify as verify_store
    from patchpress.converter.progress import progress_for_terminal

    with progress_for_terminal() as progress:
        verdict = verify_store(store, against, _paths(path or []), workers, progress, dataset)
    print(verdict.text())
    raise typer.Exit(0 if verdict.good else 1)


@app.command()
def inspect(
    store: Store,
    key: Annotated[
        str | None, typer.Argument(metavar="KEY", help="One record instead of the store.")
    ] = None,
) -> None:
    """Show what is in a store, or in one of its records."""
    from patchpress.converter.commands.inspect import record_text, store_text

    print(store_text(store) if key is None else record_text(store, key))


@app.command()
def plot(
    store: Store,
    out: Annotated[Path, typer.Option(help="Picture to write, as .png, .jpg or .pdf.")],
    keys: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEYS", help="Records to show; the first few without any."),
    ] = None,
) -> None:
    """Draw records: colour where there are red, green and blue bands, grey or classes elsewhere."""
    from patchpress.converter.commands.plot import plot as plot_records

    plot_records(store, keys or [], out)
    print(out)


@app.command()
def datasets(
    show: Annotated[str | None, typer.Option(help="Print the description of this dataset.")] = None,
    guess: Annotated[
        Path | None,
        typer.Option(help="Say which description fits this folder, of patches or archives."),
    ] = None,
) -> None:
    """List what can be converted, and what each expects on disk."""
    from patchpress.converter.commands.datasets import dataset_source, datasets_text, guess_text

    if guess is not None:
        print(guess_text(guess))
    else:
        print(datasets_text() if show is None else dataset_source(show))


@app.command("split-table")
def split_table(
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="Parquet table with a patch_id column.")
    ],
    split: Annotated[
        TableSplit, typer.Option(help="The rule that makes the split.")
    ] = TableSplit.geographic,
    out: Annotated[
        Path | None, typer.Option(help="File to write; the table itself without it.")
    ] = None,
) -> None:
    """Write the split column of a table anew, by the place of each patch in its tile."""
    from patchpress.converter.commands.split_table import RULES, rewrite_table

    counts = rewrite_table(table, out, RULES[split])
    print(f"{out or table}: {split} split")
    print("\n".join(f"{name:<12} {rows:,}" for name, rows in counts.items()))


@app.command()
def stats(
    store: Store,
    split: Annotated[
        list[str] | None,
        typer.Option(help="Only this split; may be repeated. All records without it."),
    ] = None,
    modality: Annotated[
        list[str] | None,
        typer.Option(help="Only this modality; may be repeated. All images without it."),
    ] = None,
    flagged: Annotated[
        FlaggedChoice | None,
        typer.Option(
            help="Patches that the publisher does not recommend; by default a split has none."
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="Only rows with this value, as COLUMN=VALUE; may be repeated: a row has one of "
            "the values of each column."
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that read and count.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write; statistics.json in the store without it.")
    ] = None,
) -> None:
    """Compute mean, standard deviation, range and percentiles of each band, and keep them."""
    from patchpress.converter.commands.stats import (
        compute,
        parse_where,
        save,
        statistics_file,
        statistics_text,
    )
    from patchpress.converter.progress import progress_for_terminal

    file = statistics_file(store, out)
    with progress_for_terminal() as progress:
        found = compute(
            store,
            split or None,
            modality,
            workers,
            progress,
            flagged=None if flagged is None else str(flagged),
            where=parse_where(store, where or []),
        )
    print(statistics_text(store, found))
    save(store, found, file)


@app.command()
def bench(
    store: Store,
    modality: Annotated[
        str | None, typer.Option(help="Which to read; the store's first without it.")
    ] = None,
    batch: Annotated[int, typer.Option(help="Records a batch.")] = 64,
    seconds: Annotated[float, typer.Option(help="Of each measurement.")] = 1.0,
    out: Annotated[Path | None, typer.Option(help="JSON file to write, too.")] = None,
) -> None:
    """Measure how fast this store reads here: warm and cold, singly, in batches, by the loader."""
    from patchpress.converter.commands.bench import bench as measure_store
    from patchpress.converter.commands.bench import bench_text, write_bench

    found = measure_store(
        store, modality, batch, seconds, lambda what: print(what, file=sys.stderr)
    )
    print(bench_text(found))
    if out is not None:
        write_bench(out, found)


@app.command()
def index(
    store: Store,
    dataset: Annotated[
        str | None,
        typer.Option(help="Adopt records of another program: name as in `datasets`, or a .toml."),
    ] = None,
    path: Annotated[
        list[str] | None, typer.Option(help="A table or list for that, as NAME=FILE.")
    ] = None,
) -> None:
    """Find anew where each record lies; with a dataset, make another program's LMDB a store."""
    from patchpress.converter.commands.index import index as index_store
    from patchpress.converter.progress import progress_for_terminal

    with progress_for_terminal() as progress:
        found = index_store(store, dataset, _paths(path or []), progress)
    print(found.text())


def _paths(entries: list[str]) -> dict[str, Path]:
    """NAME=PATH options as a mapping.

    Raises:
        OptionError: an entry without ``=``.
    """
    paths = {}
    for entry in entries:
        name, equals, path = entry.partition("=")
        if not (name and equals and path):
            raise OptionError(f"--path {entry} must be NAME=PATH, as in s2=FOLDER")
        paths[name] = Path(path)
    return paths


def main() -> None:
    """Run the command; each error on purpose becomes one sentence on stderr.

    Exit codes: 0 done, 1 the data is not as asked, 2 the command was wrong.
    """
    run(app)


if __name__ == "__main__":
    main()
