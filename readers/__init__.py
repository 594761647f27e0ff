"""The light runtime of Patchpress: open a store, read its records and its table.

Importing it loads NumPy, lmdb and zstandard; pyarrow follows when a table is read.
"""

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
