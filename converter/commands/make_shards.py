"""Makes one finished shard out of a source, in a folder of its own.

A shard is made in any folder, on any machine, from the request and its number alone. So the same
function serves one process, a job array and a scheduler; where the folder goes then is another's
business (`storage.shard_delivery`).
"""

from pathlib import Path

from patchpress.converter.commands.shard_maker import ShardMaker
from patchpress.converter.planning.request import ConversionRequest
from patchpress.converter.planning.shard_patches import ShardPatches
from patchpress.converter.planning.space import require_room
from patchpress.converter.progress import Progress
from patchpress.converter.storage.shard_file import (
    FinishedShard,
)
from patchpress.readers.errors import OptionError


def make_shard(
    request: ConversionRequest, number: int, folder: Path, *, progress: Progress | None = None
) -> FinishedShard:
    """Make one shard in a folder of its own: everything that a store needs of it.

    The folder may be anywhere; the store itself is not looked at. It is made if it is not there. If
    an earlier run was interrupted in it, this one goes on from there; if it has that shard, nothing
    is done. Afterwards it has `data.mdb`, `extents.safetensors`, `shard.records` and `shard.json`,
    which is written last. The bytes of `data.mdb` follow from the request, the number and the
    source alone. Every argument can be pickled.

    Args:
        request: of the whole store, from `prepare_request`; `options.shards` is their number, and
            `options.workers` how many processes decode.
        number: which shard, from 0.
        folder: where it is made. Two processes that make a shard in one folder do not harm each
            other: the second is refused.
        progress: told of every chunk of patches.

    Raises:
        OptionError: the number is not below that of the shards.
        SourceError, PatchError, TableError: as `convert`.
        TargetError: the folder has something else, a shard of another request or number, or cannot
            be written.
        StoreDamaged: what the folder has of a finished shard is not as it was written.
    """
    check_number(number, request.options.shards)
    maker = ShardMaker(request, progress)
    shard = maker.finished(number, folder)
    if shard is not None:
        return shard  # no worker is started for it
    with maker:
        # Tables are checked by one run of many, and again when all shards are one store.
        maker.choose(folder, [number], rehearse=number == 0)
        require_room(folder, maker.needed([number]), goes_on=folder.exists())
        return maker.make({number: folder})[number]


def make_listed_shard(
    request: ConversionRequest,
    number: int,
    folder: Path,
    patches: ShardPatches,
    *,
    progress: Progress | None = None,
) -> FinishedShard:
    """Make one shard as `make_shard` does, of patches that another process has listed.

    The source must have folders only. It is not looked over again: with many shards on a network
    disk that would take longer than all else.

    Args:
        request: as for `make_shard`.
        number: as for `make_shard`.
        folder: as for `make_shard`.
        patches: those of this shard, from `ShardMaker.listed`.
        progress: as for `make_shard`.

    Raises:
        OptionError, PatchError, SourceError, TargetError, StoreDamaged: as `make_shard`.
    """
    check_number(number, request.options.shards)
    maker = ShardMaker(request, progress)
    shard = maker.finished(number, folder)
    if shard is not None:
        return shard
    with maker:
        maker.take(patches)
        require_room(folder, maker.needed(), goes_on=folder.exists())
        return maker.make({number: folder})[number]


def check_number(number: int, shards: int | None) -> None:
    """Make sure that there is a shard of that number.

    Raises:
        OptionError: there is none.
    """
    if shards is None:
        raise OptionError(f"shard {number} of how many? Give --shards, too")
    if not 0 <= number < shards:
        raise OptionError(f"there is no shard {number}: of {shards:,} they are 0 to {shards - 1:,}")
