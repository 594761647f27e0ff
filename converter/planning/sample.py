"""A few patches of a source, read and encoded as a conversion does, to tell how the others are."""

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from patchpress.converter.encoding.encoder import Encoder, Recipe
from patchpress.converter.sources.archives import ArchiveStream
from patchpress.converter.sources.patch import Patch
from patchpress.readers.errors import PatchError

SAMPLE = 256  # patches of all modalities together
MEMORY = 64 << 20  # bytes of files that a sample out of archives may hold
SECONDS = 3.0  # for encoding, and as much again for archives
HEAD_BYTES = 64 << 20  # of an archive, compressed, where the number of its patches is not known
SETTLED = 0.05  # seconds in which a thread that reads ahead reads something, if it can
_STRIDES = 16


class EvenSample:
    """At most so many of a stream of patches, evenly spread over it, whatever its length."""

    def __init__(self, most: int) -> None:
        self.most = max(1, most)
        self.seen = 0
        self._kept: list[Patch] = []
        self._step = 1

    def add(self, patch: Patch) -> None:
        """See the next one, and keep it or not."""
        if self.seen % self._step == 0:
            if len(self._kept) == 2 * self.most:
                del self._kept[1::2]
                self._step *= 2
            if self.seen % self._step == 0:
                self._kept.append(patch)
        self.seen += 1

    @property
    def full(self) -> bool:
        """Whether there are as many as are wanted."""
        return len(self._kept) >= self.most

    def patches(self) -> list[Patch]:
        """Those that are kept, in their order."""
        count = min(self.most, len(self._kept))
        return [self._kept[at * len(self._kept) // count] for at in range(count)]


@dataclass
class EncodedSample:
    """What encoding some patches of one modality told."""

    seconds: list[float] = field(default_factory=list)
    """Of each patch, in one process."""
    lengths: list[int] = field(default_factory=list)
    """Bytes of each record."""
    damaged: list[str] = field(default_factory=list)
    """A sentence for each patch that has no record."""

    @property
    def tried(self) -> int:
        """How many patches were encoded, or were to be."""
        return len(self.lengths) + len(self.damaged)

    @property
    def pace(self) -> float:
        """Seconds that one patch takes in one process."""
        # The first one loads and learns what the others have; alone it is better than nothing.
        counted = self.seconds[1:] or self.seconds
        return sum(counted) / len(counted) if counted else 0.0


def encode_samples(
    recipes: Mapping[str, Recipe], samples: Mapping[str, Sequence[Patch]]
) -> dict[str, EncodedSample]:
    """Encode samples of each modality, for a few seconds at most; no record is kept."""
    end, found = time.monotonic(), {}
    for name, patches in samples.items():
        end += SECONDS / len(samples)
        found[name] = _measured(recipes[name], _from_everywhere(patches), end)
    return found


def _measured(recipe: Recipe, patches: Iterable[Patch], end: float) -> EncodedSample:
    encoder, found = Encoder(recipe), EncodedSample()
    out = memoryview(bytearray(encoder.capacity))
    for patch in patches:
        begun = time.monotonic()
        if found.tried and begun > end:
            break
        try:
            found.lengths.append(encoder.encode(patch, out).length)
            found.seconds.append(time.monotonic() - begun)
        except PatchError as error:
            found.damaged.append(str(error))
    return found


def _from_everywhere(patches: Sequence[Patch]) -> list[Patch]:
    """In an order of which any beginning is spread over all."""
    return [patch for start in range(_STRIDES) for patch in patches[start::_STRIDES]]


@dataclass(frozen=True, slots=True)
class BeginningEstimate:
    """What the beginning of the archives of some modalities told."""

    counts: Mapping[str, float]
    """Modality -> how many patches all of the archives have; empty where it does not tell."""
    whole: bool
    """Whether it was read to the end, so that the counts are exact."""
    pace: float
    """Seconds that a byte of the archives takes."""


def read_beginning(
    stream: ArchiveStream, tell: Callable[[Patch], None], seconds: float, enough: Callable[[], bool]
) -> BeginningEstimate:
    """Read archives from their beginning, until it is `enough`, or it takes too long.

    `tell` is told of each patch. Nothing is guessed where little is left to be read.

    Raises:
        SourceError: they are damaged there, or another data set's.
    """
    begun, size = time.monotonic(), stream.size
    come, mark, first = Counter[str](), 0, Counter[str]()
    whole = False
    with closing(_patches(stream)) as patches:
        for patch in patches:
            come[patch.modality] += 1
            tell(patch)
            read = stream.consumed
            if not mark and read > HEAD_BYTES // 4:
                mark, first = _settled(stream), come.copy()
            late = time.monotonic() - begun > seconds and read < size
            if late or (enough() and size - read > HEAD_BYTES // 4):
                break
        else:
            whole = True
        took = time.monotonic() - begun
        read = _settled(stream) if mark else stream.consumed
    pace = took / max(read, 1)
    names = [modality.name for modality in stream.modalities]
    if whole:
        return BeginningEstimate({name: come[name] for name in names}, True, pace)
    if read - mark < HEAD_BYTES // 4:
        mark, first = 0, Counter()
    counts = {name: (come[name] - first[name]) * size / (read - mark) for name in names}
    # One after the other, as it seems: then what came first says nothing of the others.
    return BeginningEstimate(counts if all(counts.values()) else {}, False, pace)


def _settled(stream: ArchiveStream) -> int:
    """How much of the archives is read when as much is read ahead as can be.

    That is always as much, so that what came between two such places filled just the bytes between.
    """
    read = -1
    while read != stream.consumed:
        read = stream.consumed
        time.sleep(SETTLED)
    return read


def _patches(stream: ArchiveStream) -> Generator[Patch, None, None]:
    """As the stream gives them; closing it closes the archives."""
    yield from stream
