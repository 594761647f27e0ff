"""The light runtime of Patchpress: open a store, read its records and its table.

Importing it loads nothing but the errors; NumPy, lmdb and zstandard follow with `open_store`,
pyarrow when a table is read.
"""

from typing import TYPE_CHECKING

from readers.errors import (
    BandMissing,
    BufferUnfit,
    ExtentsUnusable,
    FormatUnknown,
    GridsDiffer,
    KeyMissing,
    OptionError,
    PatchpressError,
    SelectionEmpty,
    StatisticsMissing,
    StatisticsStale,
    StoreDamaged,
    StoreError,
    StoreMissing,
    StoreUnfinished,
    ViewImpossible,
)

if TYPE_CHECKING:
    from readers.store import Store, open_store

__all__ = [
    "BandMissing",
    "BufferUnfit",
    "ExtentsUnusable",
    "FormatUnknown",
    "GridsDiffer",
    "KeyMissing",
    "OptionError",
    "PatchpressError",
    "SelectionEmpty",
    "StatisticsMissing",
    "StatisticsStale",
    "Store",
    "StoreDamaged",
    "StoreError",
    "StoreMissing",
    "StoreUnfinished",
    "ViewImpossible",
    "open_store",
]


def __getattr__(name: str) -> object:
    """What opens stores, when it is first asked for: the command's `--help` needs none of it."""
    if name not in ("Store", "open_store"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from readers import store

    globals()[name] = value = getattr(store, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
