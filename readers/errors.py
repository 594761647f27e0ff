"""Every error that Patchpress raises on purpose, each also the builtin that a caller may expect.

::

    PatchpressError
    ├── StoreError                         reading a finished store
    │   ├── StoreMissing       FileNotFoundError   no such folder, or no store in it
    │   ├── StoreUnfinished    RuntimeError        a conversion was interrupted: no manifest
    │   ├── StoreDamaged       ValueError          the bytes are not what the manifest says
    │   ├── StoreUnreadable    OSError             sound perhaps, but not to be opened here and now
    │   ├── FormatUnknown      ValueError          of another version, of this package or of LMDB
    │   ├── KeyMissing         KeyError            no record under that name
    │   ├── BandMissing        KeyError            the modality has no such band
    │   ├── SelectionEmpty     LookupError         a split or filter that leaves nothing
    │   ├── StatisticsMissing  LookupError         statistics that were not computed
    │   ├── StatisticsStale    ValueError          statistics of other data than the store's
    │   ├── GridsDiffer        ValueError          bands, or records, of sizes that do not fit
    │   ├── ViewImpossible     ValueError          a record that no array lies in as it is stored
    │   └── BufferUnfit        ValueError          `out` of another shape, dtype or order
    ├── OptionError            ValueError          an option, or options that exclude each other
    ├── DescriptionError       ValueError          a dataset description, by file and key
    ├── SourceError            ValueError          the source as a whole: empty, another one
    │   ├── SourceMissing      FileNotFoundError   a folder or file that is not there
    │   ├── PatchError                             one patch: what ``--on-error`` decides about
    │   └── TableError                             a table of labels and splits
    ├── TargetError            OSError             the store cannot be written there
    └── ClusterError           RuntimeError        machines that were to do the work together

A message names the offending value and the way out, in one sentence. No class takes other
arguments than its message, so that each crosses a process boundary by pickle.
"""

import errno
import os
from typing import Self

from patchpress.readers.showing import plain

NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
"""What the system says if the process, or all of them, have too many files open."""


class PatchpressError(Exception):
    """Base of all errors raised on purpose; ``str()`` is one sentence for people."""

    def __str__(self) -> str:
        # KeyError would show the repr of its argument.
        return plain(str(self.args[0])) if self.args else ""


class StoreError(PatchpressError):
    """A store cannot be read as asked."""


class StoreMissing(StoreError, FileNotFoundError):
    """There is no store at the path."""


class StoreUnfinished(StoreError, RuntimeError):
    """The folder holds records but no manifest: what wrote it did not end."""


class StoreDamaged(StoreError, ValueError):
    """Files or records are not what the manifest says."""


class StoreUnreadable(StoreError, OSError):
    """The store may be sound, but this process cannot read it as things are."""


class FormatUnknown(StoreError, ValueError):
    """The manifest or the data file has a format that this package does not read."""


class KeyMissing(StoreError, KeyError):
    """The store has no record of that name."""


class BandMissing(StoreError, KeyError):
    """The modality has no band of that name."""


class SelectionEmpty(StoreError, LookupError):
    """A split, modality or filter selects nothing."""


class StatisticsMissing(StoreError, LookupError):
    """Statistics that were not computed."""


class StatisticsStale(StoreError, ValueError):
    """Statistics of other data than the store has."""


class GridsDiffer(StoreError, ValueError):
    """Bands of one record, or records of one batch, that do not fit into one array."""


class ViewImpossible(StoreError, ValueError):
    """A record cannot be seen as an array without a copy."""


class BufferUnfit(StoreError, ValueError):
    """The array given as ``out`` cannot take the result."""


class OptionError(PatchpressError, ValueError):
    """An option has a value it cannot have."""


class DescriptionError(PatchpressError, ValueError):
    """A dataset description is wrong; the message names the file and the key."""


class SourceError(PatchpressError, ValueError):
    """The source as a whole cannot be converted."""


class SourceMissing(SourceError, FileNotFoundError):
    """A part of the source does not exist."""

    # Whoever makes it anew from its pickle (Dask does) must not come to that of ValueError.
    def __new__(cls, *args: object) -> Self:
        """Make it as the system's error of that kind is made."""
        return FileNotFoundError.__new__(cls, *args)


class PatchError(SourceError):
    """One patch is not as its description says."""


class TableError(SourceError):
    """A table of labels and splits is not as its description says."""


class TargetError(PatchpressError, OSError):
    """The store cannot be written at the path."""


class ClusterError(PatchpressError, RuntimeError):
    """A scheduler, or one of its workers, cannot do its part of the work."""


class SamplesLeftOut(UserWarning):
    """Many rows of a selection lack what was asked for, so that they are no samples."""


class SourceIncomplete(UserWarning):
    """A source lacks a modality that its data set has."""


class ExtentsUnusable(UserWarning):
    """Extents beside a store are stale or damaged; it is read without them, only slower."""


class StageUnusable(UserWarning):
    """Nothing, or not all, can be staged in a folder; the rest is read where the store is."""


def cannot_read(path: str | os.PathLike[str], error: OSError) -> StoreError:
    """The error for a file of a store that the system does not let us open or read."""
    if error.errno in NO_DESCRIPTORS:
        whose = "this process" if error.errno == errno.EMFILE else "the system"
        return StoreUnreadable(
            f"{path} cannot be opened: {whose} has no file descriptors left; close files, or raise "
            "the limit (`ulimit -n`)"
        )
    return StoreDamaged(
        f"{path} cannot be read ({error.strerror}): make it readable, or copy the store again"
    )
