"""The file that keeps statistics: in a store, or beside one that cannot be written."""

from collections.abc import Mapping, Sequence
from errno import EACCES, EPERM, EROFS
from pathlib import Path

from patchpress.converter.paths import StrPath, local_path, shown_place
from patchpress.converter.sources.apart import require_no_source
from patchpress.converter.storage.folder import writing
from patchpress.readers.errors import OptionError, StatisticsStale, StoreDamaged, TargetError
from patchpress.readers.format.manifest import STATISTICS, Manifest, read_manifest
from patchpress.readers.format.store_files import read_small
from patchpress.readers.format.whole_file import write_whole
from patchpress.readers.remote.url import is_url
from patchpress.readers.statistics import Statistics
from patchpress.readers.statistics_file import FILE_LIMIT, Entries, from_bytes, to_bytes
from patchpress.readers.store import open_store


def statistics_file(store: StrPath, out: StrPath | None = None) -> Path:
    """The file to write: in the store, or `out`. It is new, or has statistics.

    Raises:
        TargetError: there is a file that is something else, or the file would lie in a source.
    """
    if is_url(store):
        if out is None:
            raise OptionError(
                f"{shown_place(store)} is a URL, where no statistics are kept: give --out FILE"
            )
        folder = open_store(store, stage=False).path
    else:
        folder = local_path(store)
    file = folder / STATISTICS if out is None else local_path(out)
    if out is not None:
        require_no_source(file)
    _kept(file, read_manifest(folder))
    return file


def _kept(file: Path, manifest: Manifest) -> Entries:
    """What a file has of this data; nothing if it is absent, or of other data."""
    try:
        return from_bytes(read_small(file, FILE_LIMIT), manifest, file, "patchpress stats")
    except (FileNotFoundError, StatisticsStale):
        return {}
    except (OSError, StoreDamaged) as error:
        reason = f" ({error.strerror})" if isinstance(error, OSError) else ""
        raise TargetError(
            f"{file} is there and no file of statistics{reason}: choose another with --out, or "
            "remove it"
        ) from None


def save_statistics(store: StrPath, found: Sequence[Statistics], file: Path) -> None:
    """Write statistics; those of other splits and modalities that the file has stay in it.

    Raises:
        TargetError: the file cannot be written.
    """
    manifest = open_store(store, stage=False).manifest
    entries: Mapping[tuple[str, str], Statistics] = {
        **_kept(file, manifest),
        **{(statistics.modality, statistics.split): statistics for statistics in found},
    }
    with writing(file):
        try:
            write_whole(file, to_bytes(entries, manifest))
        except OSError as error:
            if error.errno not in (EACCES, EPERM, EROFS):
                raise
            raise TargetError(
                f"{file} cannot be written ({error.strerror}): give --out FILE to keep the "
                "statistics elsewhere"
            ) from None
