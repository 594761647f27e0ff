"""The formats of an export: which options each takes, and the module that writes it."""

from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path

from patchpress.converter.exports.exported import Written
from patchpress.converter.exports.samples import check_shard_size
from patchpress.converter.exports.selection import ExportSelection
from patchpress.converter.options import ExportCodec, ExportFormat
from patchpress.converter.progress import Progress
from patchpress.readers.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options that only some formats take; the values are those of who takes none."""

    deflate: bool = False
    shard_size: int | str | None = None
    chunk: int = 1
    codec: ExportCodec | None = None


_SHARD_SIZE = {
    ExportFormat.webdataset: "1GB",
    ExportFormat.zarr: "128MB",
    ExportFormat.hf: "500MB",
    ExportFormat.mds: "64MiB",
    ExportFormat.litdata: "64MiB",
    ExportFormat.arrayrecord: "1GB",
}
"""Bytes of a file, if nothing else is asked for."""
_CODECS = {
    ExportFormat.zarr: (ExportCodec.blosc, ExportCodec.zstd, ExportCodec.none),
    ExportFormat.mds: (ExportCodec.none, ExportCodec.zstd),
    ExportFormat.arrayrecord: (ExportCodec.zstd, ExportCodec.none),
}
"""The first is taken if none is asked for."""
_WITH_32_BITS = {ExportFormat.mds: "MDS", ExportFormat.litdata: "litData"}
"""Formats whose positions in a file have 32 bits."""
_TAKEN_BY: dict[str, tuple[ExportFormat, ...]] = {
    "deflate": (ExportFormat.geotiff,),
    "shard_size": tuple(_SHARD_SIZE),
    "chunk": (ExportFormat.zarr,),
    "codec": tuple(_CODECS),
}


def check_options(kind: ExportFormat, options: ExportOptions) -> None:
    """Refuse options that a format does not take, or whose value it cannot have.

    Raises:
        OptionError: such an option, or the library of the format is not installed.
    """
    for field in fields(options):
        value, taken_by = getattr(options, field.name), _TAKEN_BY[field.name]
        if value != field.default and kind not in taken_by:
            name, others = field.name.replace("_", " "), " and ".join(taken_by)
            plain = str(value) if isinstance(value, StrEnum) else value
            shown = name if value is True else f"{name} {plain!r}"
            raise OptionError(f"{shown} is for {others}, not for {kind}: leave it out")
    if options.shard_size is not None:
        size = _shard_size(kind, options)
        if kind in _WITH_32_BITS and size >= 1 << 32:
            raise OptionError(
                f"a shard of {_WITH_32_BITS[kind]} has less than 4 GiB, not {options.shard_size}: "
                "write 1GB"
            )
    if isinstance(options.chunk, bool) or not isinstance(options.chunk, int) or options.chunk < 1:
        raise OptionError(f"a chunk must have 1 patch or more, not {options.chunk!r}")
    if options.codec not in (None, *_CODECS.get(kind, ())):
        known = ", ".join(_CODECS[kind])
        raise OptionError(f"{kind} has no codec {options.codec}; it has {known}")
    if kind is ExportFormat.zarr:
        from patchpress.converter.exports.zarr import require_zarr

        require_zarr()
    if kind is ExportFormat.litdata:
        from patchpress.converter.exports.litdata import require_litdata

        require_litdata()
    if kind is ExportFormat.arrayrecord:
        from patchpress.converter.exports.arrayrecord import require_array_record

        require_array_record()


def _shard_size(kind: ExportFormat, options: ExportOptions) -> int:
    return check_shard_size(options.shard_size, _SHARD_SIZE[kind])


def write_format(
    kind: ExportFormat,
    selection: ExportSelection,
    folder: Path,
    progress: Progress,
    options: ExportOptions,
) -> Written:
    """Write the rows of a selection into an empty folder.

    Raises:
        OptionError: something that the format does not have.
        StoreDamaged: a record differs from its checksum.
    """
    if kind is ExportFormat.geotiff:
        from patchpress.converter.exports.geotiff import export_geotiff

        return export_geotiff(selection, folder, progress, deflate=options.deflate)
    size = _shard_size(kind, options)
    if kind is ExportFormat.zarr:
        from patchpress.converter.exports.zarr import export_zarr

        return export_zarr(
            selection,
            folder,
            progress,
            shard_size=size,
            chunk=options.chunk,
            codec=options.codec or _CODECS[kind][0],
        )
    if kind is ExportFormat.hf:
        from patchpress.converter.exports.huggingface import export_hf

        return export_hf(selection, folder, progress, shard_size=size)
    if kind is ExportFormat.mds:
        from patchpress.converter.exports.mds import export_mds

        codec = options.codec or _CODECS[kind][0]
        return export_mds(selection, folder, progress, shard_size=size, codec=codec)
    if kind is ExportFormat.litdata:
        from patchpress.converter.exports.litdata import export_litdata

        return export_litdata(selection, folder, progress, shard_size=size)
    if kind is ExportFormat.arrayrecord:
        from patchpress.converter.exports.arrayrecord import export_arrayrecord

        codec = options.codec or _CODECS[kind][0]
        return export_arrayrecord(selection, folder, progress, shard_size=size, codec=codec)
    from patchpress.converter.exports.webdataset import export_webdataset

    return export_webdataset(selection, folder, progress, shard_size=size)
