"""Which shard a record is in, and what the shards of a store are called; FORMAT.md says both.

The shard follows from the record's key and the number of shards alone: so it is the same whoever
writes the store, in whatever order, and a reader without extents knows where to look.
"""

ONE_FILE = "data.mdb"
"""The data file of a store that has no shards, and of each shard in its folder."""
INDEX_OF_ARCHIVES = "archives.safetensors"
"""What a store has instead of a data file if its records lie in archives: the index of these."""
SHARDS = "shards"
"""The folder with the folders of the shards."""
SHARD_PATH = r"data\.mdb|shards/\d{5}/data\.mdb"
"""What the path of a data file looks like in a manifest."""
MOST_SHARDS = 1 << 16
"""The extents keep the number of a record's shard in 16 bits."""


def shard_of(key: str, shards: int) -> int:
    """The number of the shard that a record is in, from 0 on.

    Args:
        key: the record's key.
        shards: how many shards the store has; at least one.
    """
    import xxhash  # here, since most reading needs none

    return xxhash.xxh3_64_intdigest(key.encode()) % shards


def shard_folder(number: int) -> str:
    """The folder of a shard, relative to the store."""
    return f"{SHARDS}/{number:05}"


def shard_path(number: int) -> str:
    """The data file of a shard, relative to the store."""
    return f"{shard_folder(number)}/{ONE_FILE}"
