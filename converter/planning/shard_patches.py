"""The patches of one shard, as a process gets them that does not look over the source itself."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import zstandard

from patchpress.converter.sources.patch import Patch
from patchpress.converter.sources.patch_notes import from_note, noted
from patchpress.converter.storage.shard_file import SourceFindings


@dataclass(frozen=True)
class ShardPatches:
    """They lie in folders or zips, in the order of their keys. It can be pickled, and is small."""

    packed: bytes
    """Names and folders as lines of JSON, compressed: 20 bytes a patch or so."""
    counts: Mapping[str, int]
    """Modality -> how many."""
    source: SourceFindings
    """What was found in the source when it was listed."""
    limited: str = ""
    """As `FinishedShard.limited`."""

    @classmethod
    def of(cls, patches: Iterable[Patch], source: SourceFindings, limited: str = "") -> Self:
        """Pack patches that are in the order of their keys."""
        counts: dict[str, int] = {}
        packer = zstandard.ZstdCompressor(level=3).compressobj()
        packed = []
        for patch in patches:
            counts[patch.modality] = counts.get(patch.modality, 0) + 1
            note = (patch.modality, *noted(patch))
            packed.append(packer.compress(json.dumps(note).encode() + b"\n"))
        packed.append(packer.flush())
        return cls(b"".join(packed), counts, source, limited)

    def __iter__(self) -> Iterator[Patch]:
        """The patches, in their order."""
        lines = zstandard.ZstdDecompressor().decompressobj().decompress(self.packed)
        for line in lines.splitlines():
            modality, *note = json.loads(line)
            yield from_note(modality, note)
