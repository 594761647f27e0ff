"""The options of a conversion, checked once, from the command line to the workers."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from patchpress.converter.paths import local_path
from patchpress.readers.errors import OptionError


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


class Nan(StrEnum):
    """What happens to a patch with pixels that are not numbers."""

    refuse = "refuse"
    keep = "keep"


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


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """What `convert` may be told; each default is the choice for training on a local disk.

    `workers` are processes that decode, beside the one that writes; 0 decodes in the writing
    process. None takes one a usable CPU: the writer mostly waits for the disk. `validation` is the
    share of the training patches that become validation patches, drawn by `seed` in groups that
    must not be parted. A patch with NaN is treated as a damaged one unless `nan` is keep.
    `check_md5` compares archives with what their publishers gave, while they are read. `writer` is
    what writes the data file; it does not change what is stored.
    """

    modalities: tuple[str, ...] | None = None
    layout: Layout = Layout.stacked
    resampling: Resampling = Resampling.nearest
    compression: Codec = Codec.none
    level: int | None = None
    workers: int | None = None
    on_error: OnError = OnError.stop
    overwrite: bool = False
    limit: int | None = None
    paths: Mapping[str, Path] = field(default_factory=dict)
    split: SplitBy = SplitBy.official
    validation: float = 0.0
    seed: int = 0
    nan: Nan = Nan.refuse
    check_md5: bool = False
    writer: Writer = Writer.auto

    def __post_init__(self) -> None:
        for name, kind in _ENUMS.items():
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, kind(value))
            except ValueError:
                choices = ", ".join(kind)
                raise OptionError(
                    f"{name.replace('_', '-')} {value!r} is unknown: choose {choices}"
                ) from None
        paths = {name: local_path(path) for name, path in self.paths.items()}
        object.__setattr__(self, "paths", paths)
        if self.workers is not None and self.workers < 0:
            raise OptionError(f"workers must be 0 or more, not {self.workers}")
        if self.limit is not None and self.limit < 1:
            raise OptionError(f"limit must be 1 or more, not {self.limit}")
        if self.level is not None and not 1 <= self.level <= 22:
            raise OptionError(f"level must be 1 to 22, not {self.level}")
        if self.level is not None and self.compression is Codec.none:
            raise OptionError(f"level {self.level} has no effect without compression zstd")
        if self.layout is Layout.native and self.resampling is not Resampling.nearest:
            raise OptionError(
                f"resampling {self.resampling!s} has no effect on the native layout, which keeps "
                "every band at its own resolution: leave it out, or choose the stacked layout"
            )

    @property
    def zstd_level(self) -> int:
        """The level of zstd, 0 where nothing is compressed."""
        return 0 if self.compression is Codec.none else self.level or ZSTD_LEVEL

    @property
    def worker_count(self) -> int:
        """The number of decoding processes."""
        return usable_cpus() if self.workers is None else self.workers


_ENUMS: dict[str, type[StrEnum]] = {
    "layout": Layout,
    "resampling": Resampling,
    "compression": Codec,
    "on_error": OnError,
    "split": SplitBy,
    "nan": Nan,
    "writer": Writer,
}
