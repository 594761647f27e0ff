"""Whether a store fits on its disk, asked before anything is written.

Refused is only what cannot fit: where the size is not known, or the disk may store less than it is
given, a conversion begins, and goes on when there is room again.
"""

from pathlib import Path
from typing import NamedTuple

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.options import Codec, Layout, OnError
from patchpress.converter.planning.request import ConversionRequest
from patchpress.converter.planning.selection import Selection
from patchpress.converter.sources.files import usual_files_size
from patchpress.converter.storage.disk import RecordSizes, data_bytes, disk_of, room_there
from patchpress.converter.tables.official import Tables
from patchpress.converter.text import size
from patchpress.readers.errors import TargetError
from patchpress.readers.format.manifest import record_form

_TAR = 2048  # bytes beside a file in an archive at most: its header, a long name, the last block


_PART_LEFT = 0.95  # share of the patches that are whole at least, where damaged ones are left out


class Need(NamedTuple):
    """What a conversion takes, as far as is known before it begins."""

    request: ConversionRequest
    chosen: Selection
    tables: Tables | None

    def least(self, layout: Layout) -> int:
        """What a store of that layout takes at least; 0 where only its end tells."""
        options = self.request.options
        if options.compression is not Codec.none:
            return 0
        stop = options.on_error is OnError.stop
        kinds = [
            RecordSizes(count, [record_form(name, str(layout), modality.bands).size], 0)
            for name, count in self._least_counts().items()
            if not (modality := self.request.description.modalities[name]).any_size
            # Stacked records are all of one size, or an error.
            or (layout is Layout.stacked and stop)
        ]
        return int(data_bytes(kinds) * (1 if stop else _PART_LEFT))

    def _least_counts(self) -> dict[str, int]:
        """Modality -> how many patches there are at least.

        An archive may hold less than the tables name, but not less than fill its bytes.
        """
        counts, first = dict(self.chosen.counts), self.chosen.first
        for stream in self.chosen.streams:
            if self.tables is None or len(stream.modalities) > 1:
                continue
            (modality,) = stream.modalities
            least = min(self.tables.rows, stream.size // _most_in_archive(modality))
            if first is not None:
                least = min(least, first.counts([modality.name])[modality.name])
            counts[modality.name] = counts.get(modality.name, 0) + least
        return counts

    def ways(self) -> list[str]:
        """What makes it less."""
        native = self.least(Layout.native)
        smaller = 0 < native < self.least(self.request.options.layout)
        layout = f" or --layout native (at least {size(native)})" if smaller else ""
        return [f"give --compression zstd{layout}", "take fewer patches by --limit or --modality"]


def _most_in_archive(modality: ModalitySource) -> int:
    """Bytes that a patch takes in an archive at most, compressed or not."""
    files = len(modality.bands) + 2  # a sidecar, and the folder
    return usual_files_size(modality) + _TAR * files


def lack_of_room(store: Path, need: Need, *, begun: bool) -> str:
    """The sentence that says what lacks; empty where it is not certain that something does.

    `begun` says that an interrupted conversion goes on.
    """
    least = need.least(need.request.options.layout)
    disk, there = disk_of(store), room_there(store)
    if not disk.plain or least <= disk.most + there:
        return ""
    beside = f" beside the {size(there)} that are there already" if there else ""
    ways = ["make room and run the same command again"]
    if not begun:
        ways = ["make room", "choose another place", *need.ways()]
    return (
        f"{store} needs at least {size(least)}, but {size(disk.most)} are free on its disk{beside}"
        f": {', '.join(ways[:-1])}{', or ' if ways[1:] else ''}{ways[-1]}"
    )


def require_room(store: Path, need: Need, *, begun: bool) -> None:
    """Refuse a store for which there is no room: an earlier one, which would go, counts as room.

    Raises:
        TargetError: it cannot fit.
    """
    lack = lack_of_room(store, need, begun=begun)
    if lack:
        raise TargetError(lack)
