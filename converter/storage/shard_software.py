"""Says which shards of a store were made with other versions of software than the rest."""

from collections.abc import Iterable, Sequence

from patchpress.converter.storage.shard_file import FinishedShard
from patchpress.converter.text import number_ranges


def software_notes(shards: Sequence[FinishedShard]) -> list[str]:
    """A sentence if versions differ between shards, which were made on several machines then."""
    packages = dict.fromkeys(name for shard in shards for name in shard.software)
    told = [
        f"{package} {versions}" for package in packages if (versions := _versions(package, shards))
    ]
    if not told:
        return []
    return [f"shards were made with different versions of software: {'; '.join(told)}"]


def _versions(package: str, shards: Iterable[FinishedShard]) -> str:
    """Each version of a package with its shards; empty if there is one."""
    numbers: dict[str, list[int]] = {}
    for shard in shards:
        numbers.setdefault(shard.software.get(package, "unknown"), []).append(shard.number)
    if len(numbers) < 2:
        return ""
    return ", ".join(f"{one} ({_named(of)})" for one, of in numbers.items())


def _named(numbers: Sequence[int]) -> str:
    return f"shard{'s' if len(numbers) > 1 else ''} {number_ranges(numbers)}"
