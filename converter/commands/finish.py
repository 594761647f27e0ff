"""`merge STORE`: a store that was made shard by shard becomes a store."""

import os
import time

from patchpress.converter.commands.finish_at_url import finish_at_url
from patchpress.converter.commands.finished_before import FinishedBefore
from patchpress.converter.commands.join_shards import finish, request_of
from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.progress import NoProgress, Progress
from patchpress.converter.storage.ownership import manifest_in
from patchpress.converter.storage.report import Report, save_report
from patchpress.converter.storage.shard_place import (
    remove_working_files,
    require_data_files,
    store_to_finish,
)
from patchpress.readers.format.manifest import MARKER
from patchpress.readers.format.shard_rule import shard_path
from patchpress.readers.remote.url import is_url


def finish_store(store: StrPath, *, progress: Progress | None = None) -> Report | FinishedBefore:
    """Finish a store whose shards were made one by one; what ``patchpress merge STORE`` calls.

    The source is asked for its tables only. If this is interrupted, the next run ends with the same
    files.

    Args:
        store: the folder in which the shards are, or the URL.
        progress: told of every shard that is read.

    Raises:
        StoreMissing: no sharded store was begun there.
        StoreUnfinished: a shard is missing.
        StoreDamaged: a shard is not as its conversion wrote it.
        SourceError, TableError, TargetError: as `convert`.
    """
    if is_url(store):
        return finish_at_url(os.fspath(store), progress or NoProgress())
    folder, begun = local_path(store), time.monotonic()
    manifest = manifest_in(folder) if folder.is_dir() else None
    if manifest is not None and not (folder / MARKER).exists():
        if len(manifest.shards) > 1 or manifest.shards[0].path == shard_path(0):
            remove_working_files(folder)
        require_data_files(folder, manifest)
        return FinishedBefore(str(folder), len(manifest.shards))
    with store_to_finish(folder) as settings:
        request = request_of(folder, settings, str(folder))
        report = finish(folder, request, progress or NoProgress())
        report.seconds = time.monotonic() - begun
        save_report(report, folder)
    remove_working_files(folder)
    return report
