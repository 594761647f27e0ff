"""`missing`: the numbers of a store's shards that are not finished."""

import os
import warnings

from patchpress.converter.commands.finish_at_url import require_data_at
from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.storage.ownership import manifest_in
from patchpress.converter.storage.shard_file import finished_shard
from patchpress.converter.storage.shard_place import require_data_files, settings_of
from patchpress.converter.transfer.shards_at_url import ShardsAtUrl
from patchpress.readers.errors import StoreDamaged, TargetError
from patchpress.readers.format.manifest import MARKER
from patchpress.readers.format.shard_rule import shard_folder
from patchpress.readers.remote.url import is_url


def missing_shards(store: StrPath) -> list[int]:
    """The shards that a store still lacks, in order; none if it is finished.

    ``patchpress missing STORE`` prints them as ``3,7-9``, as SLURM takes them for ``--array``. A
    shard that is not as its conversion wrote it is one of them; a warning says what is wrong.

    Raises:
        StoreMissing: no sharded store was begun there.
        StoreDamaged: it is finished, and a data file is absent or has another length.
    """
    if is_url(store):
        return _missing_at(ShardsAtUrl(os.fspath(store)))
    folder = local_path(store)
    if folder.is_dir() and not (folder / MARKER).exists():
        manifest = manifest_in(folder)
        if manifest is not None:
            require_data_files(folder, manifest)
            return []
    settings, found = settings_of(folder), []
    for number in range(settings["shards"]):
        try:
            shard = finished_shard(folder / shard_folder(number), number, settings)
        except (StoreDamaged, TargetError) as error:
            warnings.warn(str(error), stacklevel=2)
            shard = None
        if shard is None:
            found.append(number)
    return found


def _missing_at(target: ShardsAtUrl) -> list[int]:
    manifest = target.manifest()
    if manifest is not None:
        require_data_at(target, manifest)
        return []
    there = target.there(target.settings_to_finish())
    return [number for number, shard in there.items() if shard is None]
