"""The options of a conversion, checked once, from the command line to the workers."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar

from patchpress.converter.block_options import BlockRule, block_rule
from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.sizes import size_option
from patchpress.readers.errors import OptionError
from patchpress.readers.format.blosc2_chunk import LEVEL as BLOSC2_LEVEL
from patchpress.readers.format.shard_rule import MOST_SHARDS
from patchpress.readers.hints import hint

Choice = TypeVar("Choice", bound=StrEnum)


class Layout(StrEnum):
    """How the bands of a patch are stored."""

    stacked = "stacked"
    native = "native"


class Resampling(StrEnum):
    """How coarser bands reach the finest grid of a stacked record."""

    nearest = "nearest"
    bilinear = "bilinear"
    cubic = "cubic"


class Codec(StrEnum):
    """How a record's bytes are compressed."""

    none = "none"
    blosc2 = "blosc2"
    """Bits shuffled, then LZ4: two thirds of the bytes, at the speed of memory."""
    zstd = "zstd"


class OnError(StrEnum):
    """What happens to a patch that is not as described."""

    stop = "stop"
    skip = "skip"


class SplitBy(StrEnum):
    """Where the split of a patch comes from."""

    official = "official"
    geographic = "geographic"
    none = "none"


class TableSplit(StrEnum):
    """What can split a table by names alone."""

    geographic = "geographic"


class FlaggedChoice(StrEnum):
    """What is done with rows that their publisher does not recommend, as readers have it."""

    exclude = "exclude"
    include = "include"
    only = "only"


class ExportFormat(StrEnum):
    """What `export` writes."""

    geotiff = "geotiff"
    """GeoTIFFs with georeference and band names, as a published data set has them."""
    webdataset = "webdataset"
    """Tar files of samples, for webdataset and other readers of such."""
    zarr = "zarr"
    """A group of Zarr 3: an array for each modality, and one for each column of the table."""
    hf = "hf"
    """Parquet files with pictures and a card, for the Hugging Face Hub and `datasets`."""
    mds = "mds"
    """Shards of MDS, for MosaicML Streaming."""
    litdata = "litdata"
    """Chunks of litData, for its StreamingDataset."""
    arrayrecord = "arrayrecord"
    """Records of safetensors, for Grain and other readers of ArrayRecord."""


class ExportCodec(StrEnum):
    """How pixels of an exported file are compressed."""

    none = "none"
    """As they are."""
    zstd = "zstd"
    """zstd, level 3."""
    blosc = "blosc"
    """Blosc: the bits of a chunk in the order of their weight, then zstd."""


class Picture(StrEnum):
    """What `plot` draws."""

    sheet = "sheet"
    """Patches, one row each, with their partners, labels and split."""
    bands = "bands"
    """One patch with each of its bands."""
    brightness = "brightness"
    """The darkest, most typical and brightest of some patches."""
    classes = "classes"
    """How many patches each class has."""
    places = "places"
    """Where the patches lie."""
    distances = "distances"
    """How near the patches of test are to those of train."""
    histograms = "histograms"
    """How the values of each band are distributed."""
    statistics = "statistics"
    """What `patchpress stats` has computed."""


class Nan(StrEnum):
    """What happens to a patch with pixels that are not numbers."""

    refuse = "refuse"
    keep = "keep"


class Size(StrEnum):
    """What happens to a patch of another size than its description gives."""

    auto = "auto"
    """Stacked as the description says, which is `keep` unless it says more; native as it is."""
    keep = "keep"
    """It is stored as it is in the native layout if its description allows that, else refused."""
    crop = "crop"
    """It is cut at its lower and right edge; a smaller one is refused."""
    pad = "pad"
    """It is cut, or filled with zeros, at its lower and right edge."""
    resize = "resize"
    """Its bands are resampled to the usual size."""


class Writer(StrEnum):
    """What writes the records of the data file; readers see no difference."""

    auto = "auto"
    """Pages if they are possible, else LMDB."""
    pages = "pages"
    """The pages of the data file are made without LMDB, which takes less time."""
    lmdb = "lmdb"
    """LMDB stores each record."""


ZSTD_LEVEL = 3  # the default of the zstd program


def usable_cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ConvertKeywords(TypedDict, total=False):
    """The options of `convert` and `dry_run` as keywords; `ConvertOptions` says what they mean."""

    modalities: str | Sequence[str] | None
    layout: Layout | Literal["stacked", "native"]
    resampling: Resampling | Literal["nearest", "bilinear", "cubic"]
    compression: Codec | Literal["none", "blosc2", "zstd"]
    level: int | None
    workers: int | None
    on_error: OnError | Literal["stop", "skip"]
    overwrite: bool
    limit: int | None
    paths: Mapping[str, StrPath]
    split: SplitBy | Literal["official", "geographic", "none"]
    validation: float
    seed: int
    block: str | None
    shares: str | Sequence[float] | None
    buffer: str | None
    nan: Nan | Literal["refuse", "keep"]
    size: Size | Literal["auto", "keep", "crop", "pad", "resize"]
    check_md5: bool
    writer: Writer | Literal["auto", "pages", "lmdb"]
    zstd_window: int | str
    shards: int | None
    scheduler: str | None
    scratch: StrPath | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """The options of a conversion, checked; each default is the choice for a local disk."""

    modalities: tuple[str, ...] | None = None
    """Which to convert, in the order of the description; None for all that the source has."""
    layout: Layout = Layout.stacked
    """One array a patch on the finest grid, or one array a band."""
    resampling: Resampling = Resampling.nearest
    """How coarser bands come to the finest grid; the native layout has no use for it."""
    compression: Codec = Codec.none
    """Of each record."""
    level: int | None = None
    """Level of zstd, 1 to 22; None for 3, the default of the zstd program."""
    workers: int | None = None
    """Processes that decode, beside the one that writes: None for one a usable CPU, because the one
    that writes mostly waits for the disk. With 0 the one that writes decodes, too."""
    on_error: OnError = OnError.stop
    """Stop at a damaged patch, or leave it out and report it."""
    overwrite: bool = False
    """Replace a finished store."""
    limit: int | None = None
    """Only so many patches, spread over the source; of large archives the first ones."""
    paths: Mapping[str, Path] = field(default_factory=dict)
    """Modality or table -> where it lies, if it is not where the description says."""
    split: SplitBy = SplitBy.official
    """Where the split of a patch comes from."""
    validation: float = 0.0
    """Share of the training patches that become validation patches, drawn in whole groups."""
    seed: int = 0
    """Of that draw, or of the draw of blocks."""
    block: str | None = None
    """The side of the blocks of ground that share a split (``10km``), with split ``geographic``;
    None for the rule of the description, the position of a patch in its tile."""
    shares: str | Sequence[float] | None = None
    """With blocks, the shares of train, validation and test; None for 0.7, 0.15 and 0.15."""
    buffer: str | None = None
    """With blocks, how near to another split a patch may be (``1km``) without losing its own; None
    for any distance."""
    nan: Nan = Nan.refuse
    """Treat patches with NaN as damaged, or store them as they are."""
    size: Size = Size.auto
    """What happens to a patch of another size than its description gives."""
    check_md5: bool = False
    """Compare archives with the MD5 that their publishers gave, while they are read."""
    writer: Writer = Writer.auto
    """What writes the data file; it does not change what is stored."""
    zstd_window: int | str = 128 << 20
    """Memory that a zstd archive may ask for (its window) while it is read: bytes, or a text such
    as `2GiB`, 1 KiB to 2 GiB. Each archive that is read at a time may take so much."""
    shards: int | None = None
    """How many shards the store has, each a data file of its own; None for one file."""
    scheduler: str | None = None
    """The scheduler of Dask whose workers make the shards: ``tcp://HOST:PORT``, the path of its
    file, or ``local`` for workers on this machine; None for this process."""
    scratch: Path | None = None
    """A folder on each of those workers' disks, for the shard that it makes; None for its own. For
    a store at a URL, the folder here in which shards are made until they are sent."""

    def __post_init__(self) -> None:
        """Check them, and give names and paths their types.

        Raises:
            OptionError: a value that cannot be, or one that has no effect beside another.
        """
        self._give_types()
        _check_whole("workers", self.workers, 0)
        _check_whole("limit", self.limit, 1)
        _check_whole("level", self.level, 1, 22)
        window_bytes(self.zstd_window)
        _check_whole("shards", self.shards, 1, MOST_SHARDS)
        _ = self.block_rule  # which checks block, shares and buffer
        if self.scheduler is not None and self.shards is None:
            raise OptionError("a scheduler gives each worker a shard at a time: give shards, too")
        if self.scratch is not None and self.scheduler is None:
            raise OptionError(
                "scratch is for a scheduler's workers, or for a store at a URL: give scheduler, or "
                "a URL"
            )
        if self.level is not None and self.compression is not Codec.zstd:
            raise OptionError(f"level {self.level} has no effect without compression zstd")
        resamples = self.layout is Layout.stacked or self.size is Size.resize
        if not resamples and self.resampling is not Resampling.nearest:
            raise OptionError(
                f"resampling {self.resampling!s} has no effect on the native layout, which keeps "
                "every band at its own resolution: leave it out, or choose the stacked layout"
            )

    def _give_types(self) -> None:
        """Plain strings to the enumerations, paths to `Path`, names of modalities to a tuple."""
        for name, kind in _ENUMS.items():
            object.__setattr__(self, name, member(kind, name, getattr(self, name)))
        paths = {name: local_path(path) for name, path in self.paths.items()}
        object.__setattr__(self, "paths", paths)
        if self.scratch is not None:
            object.__setattr__(self, "scratch", local_path(self.scratch).absolute())
        asked = self.modalities
        names = (asked,) if isinstance(asked, str) else asked
        object.__setattr__(self, "modalities", None if names is None else tuple(names))

    @property
    def block_rule(self) -> BlockRule | None:
        """How rows are split by blocks of ground; None if they are not."""
        return block_rule(
            str(self.split), self.block, self.shares, self.buffer, self.seed, self.validation
        )

    @property
    def compression_level(self) -> int:
        """The level of the codec; 0 if nothing is compressed."""
        if self.compression is Codec.zstd:
            return self.level or ZSTD_LEVEL
        return 0 if self.compression is Codec.none else BLOSC2_LEVEL

    @property
    def window(self) -> int:
        """Bytes that a zstd archive may ask to be kept in memory."""
        return window_bytes(self.zstd_window)

    @property
    def worker_count(self) -> int:
        """The number of processes that decode."""
        return worker_count(self.workers)


def convert_options(keywords: Mapping[str, Any]) -> ConvertOptions:
    """Options from keywords of a call.

    Raises:
        OptionError: there is no such option, or as `ConvertOptions`.
    """
    known = [field.name for field in fields(ConvertOptions)]
    for name in keywords:
        if name not in known:
            raise OptionError(f"there is no option {name!r} of a conversion, {hint(name, known)}")
    return ConvertOptions(**keywords)


def worker_count(workers: int | None) -> int:
    """How many processes are meant: None for one a usable CPU.

    Raises:
        OptionError: it is negative, or no whole number.
    """
    _check_whole("workers", workers, 0)
    return usable_cpus() if workers is None else workers


def window_bytes(window: int | str) -> int:
    """How many bytes a zstd archive may ask to be kept in memory.

    Raises:
        OptionError: it is no size, or one that zstd does not know.
    """
    return size_option("zstd-window", window, 1 << 10, 2 << 30)


def _check_whole(name: str, value: Any, least: int, most: int | None = None) -> None:
    if value is None:
        return
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        which = f"{least} or more" if most is None else f"{least} to {most:,}"
        raise OptionError(f"{name} must be {which}, not {value!r}")


def member(kind: type[Choice], name: str, value: str) -> Choice:
    """The member of an enumeration that a plain string names; `name` is that of the option.

    Raises:
        OptionError: there is none.
    """
    try:
        return kind(value)
    except ValueError:
        names = [str(one) for one in kind]
        option = name.replace("_", "-")
        raise OptionError(f"{option} {value!r} is unknown, {hint(value, names)}") from None


_ENUMS: dict[str, type[StrEnum]] = {
    "layout": Layout,
    "resampling": Resampling,
    "compression": Codec,
    "on_error": OnError,
    "split": SplitBy,
    "nan": Nan,
    "size": Size,
    "writer": Writer,
}
