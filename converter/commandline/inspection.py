"""Commands that check, show and measure a store: `verify`, `inspect`, `plot` and others."""

from pathlib import Path
from typing import Annotated

import typer

from patchpress.converter.arguments import (
    Flagged,
    KeysFile,
    Modalities,
    Splits,
    Store,
    Verbose,
    Wheres,
    ZstdWindow,
    choice,
    dataset_option,
    decimal,
    parse_paths,
    whole,
)
from patchpress.converter.commandline.app import command
from patchpress.converter.exits import has_colours, output, terminal_width, until_interrupted
from patchpress.converter.options import (
    FlaggedChoice,
    Picture,
    TableSplit,
)


@command()
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


@command()
def inspect(
    store: Store,
    key: Annotated[
        str | None,
        typer.Argument(metavar="KEY", help="Show this record; the store if it is not given."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print facts as JSON, for programs.")
    ] = False,
    verbose: Verbose = 0,
) -> None:
    """Show what is in a store, or in one of its records."""
    from patchpress.converter.commands.inspect import inspect as inspect_store

    contents = inspect_store(store, key)
    if key is not None and not as_json and has_colours():
        from patchpress.converter.pictures.terminal import terminal_picture
        from patchpress.readers.store import open_store

        output(terminal_picture(open_store(store, stage=False), key), coloured=True)
    output(contents.json() if as_json else contents.text(terminal_width()))


@command()
def view(
    store: Store,
    port: Annotated[int, whole("Port of the page; 0 for a free one.")] = 8000,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address that is listened at. The page asks for a token if it is not this "
            "machine alone.",
        ),
    ] = "127.0.0.1",
    verbose: Verbose = 0,
) -> None:
    """Serve a local page to walk through a store, until Ctrl-C."""
    from patchpress.converter.commands.view import view as view_store

    with until_interrupted():
        view_store(store, port=port, host=host, ready=output)


@command()
def plot(
    store: Store,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Picture to write, as .png, .svg or .pdf.")
    ],
    keys: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY]...",
            help="Records whose patches are drawn; of one, all its bands. Drawn by chance if none "
            "is given.",
        ),
    ] = None,
    picture: Annotated[
        Picture | None,
        choice(
            Picture,
            "What is drawn: by default a contact sheet of patches, or the bands of one KEY.",
        ),
    ] = None,
    split: Splits = None,
    where: Wheres = None,
    keys_file: KeysFile = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS", help="Only patches of this class; may be repeated."),
    ] = None,
    flagged: Annotated[
        FlaggedChoice | None,
        choice(
            FlaggedChoice,
            "Patches that the publisher does not recommend; by default none is shown.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The label column that is shown."),
    ] = None,
    modality: Modalities = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Tell its values apart, instead of the splits."),
    ] = None,
    count: Annotated[int | None, whole("Patches that are shown, or read.")] = None,
    seed: Annotated[int, whole("Decides which patches are drawn.")] = 0,
    dataset: Annotated[
        str | None,
        dataset_option("TOML file that describes the dataset, if it is one of your own."),
    ] = None,
    verbose: Verbose = 0,
) -> None:
    """Draw patches with their partners, the bands of one, classes, places, values of bands."""
    from patchpress.converter.commands.keys_file import where_of
    from patchpress.converter.commands.plot import plot as plot_store
    from patchpress.converter.commands.statistics_rows import parse_where

    output(
        plot_store(
            store,
            keys,
            out=out,
            picture=picture,
            split=split or None,
            where=where_of(store, parse_where(store, where or []), keys_file),
            label=label or None,
            flagged=None if flagged is None else str(flagged),  # type: ignore[arg-type]
            target=target,
            modality=modality or None,
            by=by,
            count=count,
            seed=seed,
            dataset=dataset,
        )
    )


@command()
def query(
    store: Store,
    sql: Annotated[
        str,
        typer.Argument(
            metavar="SELECT", help="One SELECT over the table patches, the rows of the store."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write all rows as .csv or .parquet; else the first column, one name a line, as "
            "--keys takes it.",
        ),
    ] = None,
    rows: Annotated[int, whole("Rows that are printed at most.")] = 40,
    verbose: Verbose = 0,
) -> None:
    """Ask the table of a store in SQL, with DuckDB."""
    from patchpress.converter.commands.query import query as query_store

    output(query_store(store, sql, out=out).text(terminal_width(), rows))


@command("split-table")
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


@command()
def stats(
    store: Store,
    split: Splits = None,
    modality: Modalities = None,
    flagged: Flagged = None,
    where: Wheres = None,
    keys_file: KeysFile = None,
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
    from patchpress.converter.commands.keys_file import where_of
    from patchpress.converter.commands.numbers import numbers_text
    from patchpress.converter.commands.statistics_file import save_statistics, statistics_file
    from patchpress.converter.commands.statistics_rows import parse_where
    from patchpress.converter.commands.stats import compute, statistics_text
    from patchpress.converter.progress import progress_for_terminal

    file = statistics_file(store, out)
    chosen = where_of(store, parse_where(store, where or []), keys_file)
    asked = None if flagged is None else str(flagged)
    with progress_for_terminal() as progress:
        found = compute(
            store,
            split or None,
            modality,
            flagged=asked,
            where=chosen,
            workers=workers,
            progress=progress,
        )
    numbers = numbers_text(store, split or None, asked, chosen)
    output(statistics_text(store, found) + numbers)  # first: if they cannot be kept, they are known
    save_statistics(store, found, file)


@command()
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
