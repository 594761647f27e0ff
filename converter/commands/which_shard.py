"""How many shards a store has, and which of them this process makes: options, marker, SLURM."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from patchpress.converter.options import ConvertKeywords
from patchpress.converter.paths import StrPath, local_path, shown_place
from patchpress.converter.sizes import size_option
from patchpress.converter.storage.shard_place import shards_begun
from patchpress.converter.text import size
from patchpress.readers.errors import OptionError
from patchpress.readers.format.shard_rule import MOST_SHARDS
from patchpress.readers.remote.url import is_url

TASK, COUNT = "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"
FIRST, LAST = "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX"
_LEAST_SIZE = 1 << 20


@dataclass(frozen=True)
class Sharding:
    """What one process makes of a store."""

    shards: int | None
    """How many shards the store has; None for a single data file."""
    shard: int | None
    """The one that is made; None for all."""
    told: str = ""
    """One line about what no option says; empty if options say it all."""


def which_shard(
    store: StrPath, shards: int | None, shard: int | None, environment: Mapping[str, str]
) -> Sharding:
    """What options say, and in a job array of SLURM its variables.

    The number of shards is that of the option, or else of the store's marker, or else that of the
    array's tasks; the shard is that of the option, or else the task's number.

    Args:
        store: the folder of the store, which need not be there; or its URL.
        shards: as given.
        shard: as given.
        environment: of this process.

    Raises:
        OptionError: there is no such shard; the array's tasks do not tell how many shards there
            are; a variable of SLURM is no number.
    """
    number = shard if shard is not None else _whole(environment, TASK)
    if number is None:
        return Sharding(shards, None)
    whence = [TASK] if shard is None else []
    count, why = shards, ""
    if count is None:
        count = _begun(store)
        why = ", as the store was begun" if count is not None else ""
    if count is None:
        count = _count_of_array(environment)
        if count is not None:
            whence.append(COUNT)
    from patchpress.converter.commands.make_shards import check_number

    check_number(number, count)
    told = ""
    if whence or why:
        told = f"shard {number} of {count:,} of {shown_place(store)}{why}"
        if whence:
            told += f", from {' and '.join(whence)} (unset {TASK} to make a whole store)"
    return Sharding(count, number, told)


def _begun(store: StrPath) -> int | None:
    if is_url(store):
        from patchpress.converter.transfer.shards_at_url import shards_begun_at

        return shards_begun_at(os.fspath(store))
    return shards_begun(local_path(store))


def _count_of_array(environment: Mapping[str, str]) -> int | None:
    """How many tasks a job array has, if they are numbered from 0; None if this is none.

    Raises:
        OptionError: they are numbered otherwise.
    """
    count = _whole(environment, COUNT)
    first, last = _whole(environment, FIRST), _whole(environment, LAST)
    if count is None:
        return None
    if first is not None and last is not None and (first or last - first + 1 != count):
        raise OptionError(
            f"an array of the {count:,} tasks {first} to {last} does not tell how many shards the "
            "store has: give --shards N"
        )
    return count


def _whole(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "")
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise OptionError(f"{name} is {text!r}, and no number: unset it, or give --shard") from None


def shards_of_size(
    dataset: str,
    source: Path,
    store: StrPath,
    shard_size: str,
    options: ConvertKeywords,
    environment: Mapping[str, str],
) -> Sharding:
    """So many shards that each has about that size; those of a store that was begun stay.

    Raises:
        OptionError: it is no size, or so small that there would be too many; the size of the store
            is not known before its archives are read; this is a task of a job array.
        DescriptionError, SourceError, PatchError, TableError, TargetError: as `dry_run`.
    """
    nbytes = size_option("shard-size", shard_size, _LEAST_SIZE)
    if environment.get(TASK):
        raise OptionError(
            f"shard-size {shard_size} is for one process, and this is one of a job array ({TASK}): "
            "give --shards N, as a dry run with --shard-size tells it"
        )
    begun = shards_begun(local_path(store))
    if begun is not None and not options.get("overwrite"):
        return Sharding(begun, None, f"{begun:,} shards, as {store} was begun")
    from patchpress.converter.commands.dry_run import dry_run

    asked = options.copy()
    asked.pop("scheduler", None)  # it makes shards, whose number is not known yet
    asked.pop("scratch", None)
    data = dry_run(dataset, source, store, **asked).data
    if data is None:
        raise OptionError(
            f"shard-size {shard_size} does not tell how many shards there are, since only the end "
            "of an archive tells how large the store is: give --shards N"
        )
    count = max(1, ceil(data / nbytes))
    if count > MOST_SHARDS:
        raise OptionError(
            f"shard-size {shard_size} would make {count:,} shards of {size(data)}, and "
            f"{MOST_SHARDS:,} are the most: give a larger one"
        )
    return Sharding(count, None, f"{count:,} shards of about {size(data / count)} each")
