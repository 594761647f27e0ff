"""The light runtime of Patchpress: open a store, read its records and its table.

Importing it loads NumPy, lmdb and zstandard; pyarrow follows when a table is read.
"""

from readers.errors import (
    BandMissing,
    BufferUnfit,
    FormatUnknown,
    GridsDiffer,
    KeyMissing,
    OptionError,
    PatchpressError,
    SelectionEmpty,
    StoreDamaged,
    StoreError,
    StoreMissing,
    StoreUnfinished,
)
from readers.store import Store, open_store

__all__ = [
    "BandMissing",
    "BufferUnfit",
    "FormatUnknown",
    "GridsDiffer",
    "KeyMissing",
    "OptionError",
    "PatchpressError",
    "SelectionEmpty",
    "Store",
    "StoreDamaged",
    "StoreError",
    "StoreMissing",
    "StoreUnfinished",
    "open_store",
]
