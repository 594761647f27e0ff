"""Telling the kernel of bytes that are read soon, so that a disk reads many places side by side."""

import os
from contextlib import suppress
from functools import cache
from pathlib import Path

_LEAST_AT_ONCE = 128 << 10  # what Linux takes if nobody sets it


def announce_bytes(descriptor: int, offset: int, length: int, step: int) -> None:
    """Let the kernel fetch bytes of a file in the background, if the system can.

    Args:
        descriptor: of the open file.
        offset: of the first byte.
        length: how many bytes.
        step: what `fetched_at_once` says of the file's device.
    """
    if not hasattr(os, "posix_fadvise"):  # macOS and Windows have no such advice
        return
    if length <= step:
        os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_WILLNEED)
        return
    for begin in range(offset, offset + length, step):
        nbytes = min(step, offset + length - begin)
        os.posix_fadvise(descriptor, begin, nbytes, os.POSIX_FADV_WILLNEED)


@cache
def fetched_at_once(device: int) -> int:
    """Bytes that the kernel fetches for one advice on a file of a device, however many are meant.

    That is the larger of its readahead and its largest request (`force_page_cache_ra` of Linux).
    Network disks often have 128 KiB, less than a record.
    """
    number = f"{os.major(device)}:{os.minor(device)}"
    found = [_LEAST_AT_ONCE]
    for path in (
        f"/sys/class/bdi/{number}/read_ahead_kb",
        f"/sys/dev/block/{number}/queue/max_sectors_kb",
        f"/sys/dev/block/{number}/../queue/max_sectors_kb",  # of a partition
    ):
        with suppress(OSError, ValueError):
            found.append(int(Path(path).read_text()) << 10)
    return max(found)
