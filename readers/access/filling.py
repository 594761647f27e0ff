"""`Filling`: a batch that is being filled, record by record, coarse bands of several at a time.

NumPy lets other threads run during each of its steps, and then has to wait until it may go on. With
a dozen short steps a record, threads hinder each other more than they help. So the coarse bands of
some records are gathered first, and each step then works on those of all of them.
"""

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.plan import Array, Plan
from patchpress.readers.format.stack import repeat_many

GATHERED = 512 << 10
"""Bytes of coarse bands that are gathered, so that they stay in the processor's cache."""
MOST = 8
"""Records that are gathered: more make nothing faster."""
_free = threading.local()


class Filling:
    """A batch (N, bands, height, width) and what is still to be repeated; of one thread.

    With a time axis it is (N, steps, bands, height, width).

    Patches are whole after `finish`. If an error ends the filling, `out` has any values.
    """

    def __init__(self, plan: Plan, out: Array) -> None:
        """Take a batch, already checked."""
        self.plan, self.out = plan, out
        # Of a time axis all bands of all steps, one after the other.
        self._grids = out.reshape(len(out), -1, *out.shape[-2:]) if out.ndim > 4 else out
        self.rows: npt.NDArray[np.uint8] = out.reshape(len(out), -1).view(np.uint8)
        """The batch as (N, bytes), on the same memory."""
        self._most = min(max(GATHERED // plan.scratch_size, 1), MOST, len(out))
        self._memory: bytearray | None = None
        self._gathered: list[int] = []

    def fill(self, record: memoryview, index: int) -> None:
        """Take all wanted bands of a whole uncompressed record, for one patch of the batch."""
        row, pixels = self.rows[index], np.frombuffer(record, np.uint8)
        for start, end, target, target_end in self.plan.copies:
            row[target:target_end] = pixels[start:end]
        if self.plan.coarse:
            # The record is in memory: to let others run meanwhile would cost more than the copy.
            room = self.room()
            for start, end, target, target_end in self.plan.gathers:
                room[target:target_end] = record[start:end]
            self.gathered(index)

    def gather(self, pixels: npt.NDArray[np.uint8], index: int) -> None:
        """Take the coarse bands of a mapped record (bytes,), which may come from a disk.

        Other threads run meanwhile.
        """
        room = np.frombuffer(self.room(), np.uint8)
        for start, end, target, target_end in self.plan.gathers:
            room[target:target_end] = pixels[start:end]
        self.gathered(index)

    def room(self) -> memoryview:
        """The scratch buffer for the next record, as `Plan.requests` fills it."""
        size = self.plan.scratch_size
        if self._memory is None:
            self._memory = _take(self._most * size)
        begin = len(self._gathered) * size
        return memoryview(self._memory)[begin : begin + size]

    def gathered(self, index: int) -> None:
        """Say for which patch of the batch the coarse bands in `room` are."""
        self._gathered.append(index)
        if len(self._gathered) == self._most:
            self._repeat()

    def finish(self) -> None:
        """Repeat what is left."""
        if self._gathered:
            self._repeat()
        if self._memory is not None:
            _free.memory, self._memory = self._memory, None

    def _repeat(self) -> None:
        plan, rows = self.plan, self._gathered
        count = len(rows)
        memory = np.frombuffer(self._memory or b"", np.uint8)
        records = memory[: count * plan.scratch_size].reshape(count, -1)
        first = rows[0]
        neighbours = rows == list(range(first, first + count))
        places: Any = slice(first, first + count) if neighbours else rows
        for group in plan.groups:
            pixels = records[:, group.offset : group.offset + group.nbytes].view(plan.dtype)
            bands = pixels.reshape(count, -1, *group.shape)
            repeat_many(bands, self._grids, places, group.targets)
        self._gathered = []


def _take(nbytes: int) -> bytearray:
    """Memory of this thread that no other filling has."""
    memory: bytearray | None = _free.__dict__.pop("memory", None)
    return bytearray(nbytes) if memory is None or len(memory) < nbytes else memory
