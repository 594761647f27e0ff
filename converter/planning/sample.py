"""A few patches of a source, encoded as a conversion does, to estimate how the others are."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from patchpress.converter.encoding.encoder import Recipe
from patchpress.converter.encoding.time_encoder import encoder_of
from patchpress.converter.sources.opener import PatchOpener
from patchpress.converter.sources.patch import Patch
from patchpress.readers.errors import PatchError

SAMPLE = 256  # patches of all modalities together
MEMORY = 64 << 20  # bytes of files that a sample out of archives may hold
SECONDS = 3.0  # for encoding, and as much again for archives
_STRIDES = 16  # rounds over a sample, so that few patches of it are spread over all, too


class EvenSample:
    """At most `most` of a stream of patches, evenly spread over it, whatever its length."""

    def __init__(self, most: int) -> None:
        self.most = max(1, most)
        self.seen = 0
        self._kept: list[Patch] = []
        self._step = 1

    def add(self, patch: Patch) -> None:
        """See the next patch of the stream, and keep it or not."""
        if self.seen % self._step == 0:
            if len(self._kept) == 2 * self.most:
                del self._kept[1::2]
                self._step *= 2
            if self.seen % self._step == 0:
                self._kept.append(patch)
        self.seen += 1

    @property
    def full(self) -> bool:
        """Whether there are `most` patches; more are seen only to spread them."""
        return len(self._kept) >= self.most

    def patches(self) -> list[Patch]:
        """The sample, in the order of the stream."""
        count = min(self.most, len(self._kept))
        return [self._kept[at * len(self._kept) // count] for at in range(count)]


@dataclass
class EncodedSample:
    """What encoding some patches of one modality has shown."""

    seconds: list[float] = field(default_factory=list)
    """Time that each patch took, in one process."""
    lengths: list[int] = field(default_factory=list)
    """Bytes of each record."""
    damaged: list[str] = field(default_factory=list)
    """A sentence for each patch that has no record."""
    values: list[tuple[object, ...]] = field(default_factory=list)
    """For each record the values of its table columns."""
    other_size: int = 0
    """How many would be cropped, padded or resized."""

    @property
    def tried(self) -> int:
        """How many patches were encoded, or could not be."""
        return len(self.lengths) + len(self.damaged)

    @property
    def seconds_per_patch(self) -> float:
        """Time that one patch takes in one process; 0 if none was encoded."""
        # The first patch takes longer than the others, as the encoder loads libraries and learns
        # what the files have in common. It counts only if it is alone.
        counted = self.seconds[1:] or self.seconds
        return sum(counted) / len(counted) if counted else 0.0


def encode_samples(
    recipes: Mapping[str, Recipe], samples: Mapping[str, Sequence[Patch]]
) -> dict[str, EncodedSample]:
    """Encode samples of each modality, for `SECONDS` in all at most; no record is kept."""
    end = time.monotonic()
    found = {}
    for name, patches in samples.items():
        end += SECONDS / len(samples)
        found[name] = _encode_until(recipes[name], _in_rounds(patches), end)
    return found


def _encode_until(recipe: Recipe, patches: Iterable[Patch], end: float) -> EncodedSample:
    """Encode patches until `end` (of `time.monotonic`), but at least one."""
    encoder, found = encoder_of(recipe), EncodedSample()
    out, opener = memoryview(bytearray(encoder.capacity)), PatchOpener()
    for patch in patches:
        begun = time.monotonic()
        if found.tried and begun > end:
            break
        try:
            record = encoder.encode(patch, out, opener)
            found.lengths.append(record.length)
            found.values.append(record.values)
            found.other_size += bool(record.found_size)
            found.seconds.append(time.monotonic() - begun)
        except PatchError as error:
            found.damaged.append(str(error))
    return found


def _in_rounds(patches: Sequence[Patch]) -> list[Patch]:
    """The patches in an order in which the first few are spread over all of them."""
    return [patch for start in range(_STRIDES) for patch in patches[start::_STRIDES]]
