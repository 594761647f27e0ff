"""The command that writes files of other programs: `export`."""

from pathlib import Path
from typing import Annotated

import typer

from patchpress.converter.arguments import (
    Flagged,
    Fraction,
    KeysFile,
    Modalities,
    PartBands,
    PartSeed,
    PartTarget,
    PerClass,
    Splits,
    Store,
    Verbose,
    Wheres,
    choice,
    whole,
)
from patchpress.converter.commandline.app import command
from patchpress.converter.exits import output
from patchpress.converter.options import ExportCodec, ExportFormat

_FORMATS = [str(one) for one in ExportFormat]


@command()
def export(
    format: Annotated[  # noqa: A002 -- what users call it
        str,
        typer.Argument(
            metavar="FORMAT",
            help=f"What is written: {', '.join(_FORMATS)}.",
            autocompletion=lambda: _FORMATS,
        ),
    ],
    store: Store,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.")],
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
    deflate: Annotated[bool, typer.Option("--deflate", help="Compress GeoTIFFs.")] = False,
    shard_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Bytes of a file: webdataset and arrayrecord 1GB, zarr 128MB, hf 500MB, mds and "
            "litdata 64MiB.",
        ),
    ] = None,
    chunk: Annotated[int, whole("Patches that zarr compresses, and reads, together.")] = 1,
    codec: Annotated[
        ExportCodec | None,
        choice(
            ExportCodec, "How pixels are compressed; zarr: blosc, arrayrecord: zstd, mds: none."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a folder that an export wrote.")
    ] = False,
    verbose: Verbose = 0,
) -> None:
    """Write a store, or a part of it, as files of other programs."""
    from patchpress.converter.commands.export import export_store
    from patchpress.converter.commands.statistics_rows import parse_where
    from patchpress.converter.progress import progress_for_terminal
    from patchpress.converter.transfer.bands_option import parse_bands

    with progress_for_terminal() as progress:
        exported = export_store(
            format,
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
            deflate=deflate,
            shard_size=shard_size,
            chunk=chunk,
            codec=codec,
            overwrite=overwrite,
            progress=progress,
        )
    output(exported.text())
