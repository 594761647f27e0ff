"""What a contestant's process is asked for: to compare its values with the flat file, or its time.

Requests are dictionaries: {"do": "check" | "time" | "cold", ...}.
"""

import time
import traceback
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from benchmarks.adapters.protocol import Loader, Peer, Pixels, Reader, Sequential, Sources
from benchmarks.timing_loader import check_loader, time_loader
from benchmarks.tree import S2_BANDS

CHECKED = 4  # batches compared before anything is timed
DRAWN = 64  # different batches in a round


def answer(peer: Peer, sources: Sources, request: dict[str, Any]) -> Any:
    """Do what is asked."""
    do = request.pop("do")
    match peer:
        case Reader():
            asked = {"check": check_reader, "time": time_reader, "cold": cold}[do]
        case Sequential():
            asked = {"check": check_sequential, "time": time_sequential}[do]
        case Loader():
            asked = {"check": check_loader, "time": time_loader}[do]
    try:
        return cast("Any", asked)(peer, sources, **request)
    except Exception as error:
        if do != "check":
            raise
        traceback.print_exc()
        setting = ", ".join(f"{name} {value}" for name, value in request.items())
        return {"fails": f"fails with {setting}: {type(error).__name__}: {first_line(error)}"}


def first_line(error: Exception) -> str:
    """The first line of an error, short enough for a table."""
    return (str(error).strip().splitlines() or [""])[0][:120]


def buffer(reader: Reader, batch: int) -> Pixels:
    """Make the buffer that batches are read into; its pages are there, as after a first batch."""
    return np.ones((batch, len(reader.bands), 120, 120), np.uint16)


def batches(keys: Sequence[str], batch: int, turn: int, count: int) -> list[list[str]]:
    """Draw batches of random keys, the same for every contestant of a round."""
    rng = np.random.default_rng(turn)
    return [[keys[i] for i in rng.choice(len(keys), batch, replace=False)] for _ in range(count)]


def check_reader(reader: Reader, sources: Sources, batch: int) -> str | None:
    """Compare values, not dtypes, with the flat file; give the first difference, or None."""
    flat = np.load(sources.flat, mmap_mode="r")
    row = {key: index for index, key in enumerate(sources.keys)}
    bands = [S2_BANDS.index(band) for band in reader.bands]
    out = buffer(reader, batch)
    for keys in batches(sources.keys, batch, 0, CHECKED):
        out.fill(0)
        for key, array in zip(keys, reader.read(keys, out), strict=True):
            if not np.array_equal(array, flat[row[key]][bands]):
                return f"{key}, {array.dtype} {array.shape}"
    return None


def time_reader(
    reader: Reader,
    sources: Sources,
    batch: int,
    turn: int,
    seconds: float,
    typical: bool = False,
) -> float:
    """Read batches for some seconds, at least one; give patches a second.

    Of all batches together; or (`typical`) of the median batch, which says more about hundredths if
    others use the machine, too.
    """
    drawn = batches(sources.keys, batch, turn, DRAWN)
    out = buffer(reader, batch)
    reader.read(drawn[-1], out)  # not timed: what others left in the processor's cache goes
    times: list[float] = []
    begun = before = time.perf_counter()
    for keys in cycle(drawn):
        reader.read(keys, out)
        now = time.perf_counter()
        times.append(now - before)
        before = now
        if now - begun >= seconds:
            break
    return batch / median(times) if typical else batch * len(times) / sum(times)


def cold(reader: Reader, sources: Sources, batch: int, turn: int, patches: int) -> dict[str, float]:
    """Read whole batches that share no patch, once; give seconds and the bytes from the disk."""
    order = np.random.default_rng(turn).permutation(len(sources.keys))[:patches].tolist()
    whole = len(order) // batch * batch
    drawn = [[sources.keys[i] for i in order[at : at + batch]] for at in range(0, whole, batch)]
    out = buffer(reader, batch)
    before, clock = bytes_read(), time.perf_counter()
    for keys in drawn:
        reader.read(keys, out)
    seconds = time.perf_counter() - clock
    return {"patches": whole, "seconds": seconds, "read": bytes_read() - before}


def bytes_read() -> int:
    """Bytes that this process has made the disk read so far, with what was read ahead."""
    for line in Path("/proc/self/io").read_text().splitlines():
        name, _, value = line.partition(": ")
        if name == "read_bytes":
            return int(value)
    raise OSError("/proc/self/io has no read_bytes")


def check_sequential(peer: Sequential, sources: Sources, batch: int) -> str | None:
    """Compare the first batches of a pass with the flat file."""
    flat: npt.NDArray[np.uint16] = np.load(sources.flat, mmap_mode="r")
    for row, array in islice(peer.samples(), CHECKED * batch):
        if not np.array_equal(array, flat[row]):
            return f"row {row}, {array.dtype} {array.shape}"
    return None


def time_sequential(
    peer: Sequential, sources: Sources, batch: int, turn: int, seconds: float
) -> float:
    """Read in order for some seconds, at least a batch; a pass that ends is begun again."""
    out = np.ones((batch, 12, 120, 120), np.uint16)
    endless = passes(peer)
    for slot, (_, array) in enumerate(islice(endless, batch)):
        out[slot] = array
    done, spent = 0, 0.0
    before = time.perf_counter()
    while spent < seconds:
        for slot, (_, array) in enumerate(islice(endless, batch)):
            out[slot] = array
        done += batch
        spent = time.perf_counter() - before
    return done / spent


def passes(peer: Sequential) -> Iterator[tuple[int, Pixels]]:
    """Give the samples of one pass after the other."""
    while True:
        yield from peer.samples()
