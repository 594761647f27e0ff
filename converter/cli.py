"""The command `patchpress`: one library call a command; results to stdout, the rest to stderr."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from converter.options import Codec, ConvertOptions, Layout, OnError, Resampling
from readers.errors import OptionError, PatchpressError, SourceError, StoreError

app = typer.Typer(
    help="Satellite patches in, training batches out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Store = Annotated[Path, typer.Argument(help="Folder of the store.")]


@app.command()
def convert(
    dataset: Annotated[str, typer.Argument(help="Name as in `patchpress datasets`, or a .toml.")],
    source: Annotated[Path, typer.Argument(help="Folder that holds the dataset as published.")],
    store: Annotated[Path, typer.Argument(help="Folder to write.")],
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
    level: Annotated[int, typer.Option(help="Level of zstd, 1 to 22.")] = 3,
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
    path: Annotated[
        list[str] | None,
        typer.Option(help="A modality or table that lies elsewhere, as NAME=PATH."),
    ] = None,
) -> None:
    """Convert a published dataset, once, to a store that training reads."""
    from converter.pipeline import convert as run
    from converter.progress import progress_for_terminal

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
    )
    with progress_for_terminal() as progress:
        report = run(dataset, source, store, options, progress)
    print(report.text())
    raise typer.Exit(report.exit_code)


@app.command()
def verify(
    store: Store,
    against: Annotated[
        Path | None, typer.Option(help="Source folder: compare every pixel with it, too.")
    ] = None,
    path: Annotated[
        list[str] | None, typer.Option(help="A modality that lies elsewhere, as NAME=PATH.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that decode.")] = None,
) -> None:
    """Read every record back: count, checksum, shape; with a source, every pixel."""
    from converter.progress import progress_for_terminal
    from converter.verify import verify as run

    with progress_for_terminal() as progress:
        verdict = run(store, against, _paths(path or []), workers, progress)
    print(verdict.text())
    raise typer.Exit(0 if verdict.good else 1)


@app.command()
def inspect(
    store: Store,
    key: Annotated[str | None, typer.Argument(help="One record instead of the store.")] = None,
) -> None:
    """Show what is in a store, or in one of its records."""
    from converter.summary import record_text, store_text

    print(store_text(store) if key is None else record_text(store, key))


@app.command()
def plot(
    store: Store,
    out: Annotated[Path, typer.Option(help="Picture to write, as .png, .jpg or .pdf.")],
    keys: Annotated[
        list[str] | None, typer.Argument(help="Records to show; the first few without any.")
    ] = None,
) -> None:
    """Draw records: colour where there are red, green and blue bands, grey or classes elsewhere."""
    from converter.plots import plot as run

    run(store, keys or [], out)
    print(out)


@app.command()
def datasets(
    show: Annotated[str | None, typer.Option(help="Print the description of this dataset.")] = None,
) -> None:
    """List what can be converted, and what each expects on disk."""
    from converter.summary import dataset_source, datasets_text

    print(datasets_text() if show is None else dataset_source(show))


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
    try:
        # Not standalone: a wrong option, too, becomes one sentence, and not a page of usage.
        sys.exit(app(standalone_mode=False) or 0)
    except (SourceError, StoreError) as error:
        _end(error, 1)
    except PatchpressError as error:
        _end(error, 2)
    except (KeyboardInterrupt, typer.Abort):
        _end("interrupted: run the same command again to have it whole", 1)
    except BrokenPipeError:
        # The reader of our output left, as `head` does.
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        # click's own errors; Typer carries a copy of click, so they have no class to name here.
        if not hasattr(error, "format_message"):
            raise
        _end(f"{error.format_message().rstrip('.')}; see `patchpress --help`", 2)


def _end(error: object, code: int) -> None:
    print(f"patchpress: {error}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
