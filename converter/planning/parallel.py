"""What of a source several machines can read at the same time, said in a sentence."""

from patchpress.converter.planning.request import ConversionRequest
from patchpress.converter.text import size


def parallel_parts(request: ConversionRequest) -> tuple[str, ...]:
    """Which parts of a source run in parallel if each process makes one shard, and which cannot.

    None if there is one shard, or none.
    """
    if (request.options.shards or 1) == 1:
        return ()
    locations = request.parts.modalities
    folders = [name for name, location in locations.items() if not location.archives]
    packed = request.parts.packed
    streams = request.parts.stream_count
    said = []
    if folders:
        what = "zip archives" if any(locations[name].zips for name in folders) else "folders"
        said.append(f"in parallel, shard by shard: the {what} of {', '.join(folders)}")
    if packed:
        archives = "one archive is one stream" if streams == 1 else f"{streams} streams of archives"
        said.append(
            f"not in parallel by shards: {', '.join(packed)} ({archives}): each process that makes "
            "a single shard reads all of it, and one pass without --shard makes all shards"
            + ("; workers of a --scheduler read them side by side" if streams > 1 else "")
        )
    return tuple(said)


def archives_for_one_shard(request: ConversionRequest) -> str:
    """A sentence for who makes one shard of several out of archives; empty if there are none."""
    packed = request.parts.packed
    if not packed or request.options.shards == 1:
        return ""
    archives = {one for location in request.parts.modalities.values() for one in location.archives}
    nbytes = sum(archive.size for archive in archives)
    way_out = "without --shard, one pass makes all of them"
    if len(archives) > 1:
        way_out += f", and with --scheduler up to {len(archives)} workers share the archives"
    return (
        f"the archives of {', '.join(packed)} ({size(nbytes)}) are read from beginning to end for "
        f"this one shard: {way_out}"
    )
