"""Records of a store read back and checked, each by itself: what a worker of `verify` does."""

import warnings
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import xxhash

from patchpress.converter.commands.verify_files import FilesOf
from patchpress.converter.commands.verify_labels import MapReader
from patchpress.converter.paths import StrPath
from patchpress.readers.access.disk_order import Portion, PortionReader
from patchpress.readers.access.scan import HEADERS_KEPT
from patchpress.readers.errors import ExtentsUnusable, StoreDamaged
from patchpress.readers.format.compression import Decompressor, codec_of
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.record import (
    Form,
    decode,
    decode_with_safetensors,
    form_in,
    header_of,
)
from patchpress.readers.store import Store, open_store

NO_HEADER = 0xFFFF
"""The number of a record that does not begin with a header."""


@dataclass
class CheckedPortion:
    """What is known of the records of a portion, in its order; of fewer if `error` is told."""

    checksums: npt.NDArray[np.uint64]
    """XXH3-64 of each."""
    header_numbers: npt.NDArray[np.uint16]
    """Which of `headers` each begins with, or `NO_HEADER`."""
    headers: list[bytes] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    """Modality -> how many are of it."""
    problems: list[tuple[int, str]] = field(default_factory=list)
    """(index in the portion, what is wrong with the record)."""
    labels: list[tuple[int, str, list[object]]] = field(default_factory=list)
    """(index in the portion, modality, labels that follow from the map)."""
    error: str = ""
    """Why the records from some on could not be read; else empty."""


class RecordChecker:
    """Checks records against the manifest. Each process has its own."""

    def __init__(self, store: StrPath, manifest: Manifest, maps: MapReader, files: FilesOf) -> None:
        """`store` is its folder or URL, and `files` opens its data files."""
        self._store, self._manifest, self._maps = store, manifest, maps
        self._shards = files()
        self._reader = PortionReader()
        self._decompress = Decompressor(manifest.record_limit)
        self._read_by_library: set[bytes] = set()

    def check(self, number: int, keys: list[str], portion: Portion) -> CheckedPortion:
        """Read and check some records of a shard, whose keys are given in the portion's order."""
        checksums = np.zeros(len(keys), np.uint64)
        header_numbers = np.full(len(keys), NO_HEADER, np.uint16)
        checked = CheckedPortion(checksums, header_numbers)
        numbers: dict[bytes, int] = {}
        done = 0
        try:
            shard = self._shards.open(number)
            found = self._reader.read(shard.file, portion)
            offsets = portion.offset.tolist()
            for index, ((head, value), key) in enumerate(zip(found, keys, strict=True)):
                if not shard.tree.is_value_head(head, offsets[index], len(value)):
                    raise shard.tree.wrong_head(offsets[index])
                checksums[index] = xxhash.xxh3_64_intdigest(value)
                header = _header(value)
                if header is not None:
                    header_numbers[index] = numbers.setdefault(header, len(numbers))
                problem = self._problem(index, key, value, checked)
                if problem:
                    checked.problems.append((index, problem))
                done += 1
        except StoreDamaged as error:
            checked.error = str(error)
            checked.checksums, checked.header_numbers = checksums[:done], header_numbers[:done]
        checked.headers = list(numbers)
        return checked

    def _problem(
        self, index: int, key: str, value: memoryview, checked: CheckedPortion
    ) -> str | None:
        """Note what a record is; what is wrong with it, None if nothing is."""
        try:
            record = self._decompress(value)
            form = form_in(record)
            if self._is_read_otherwise(form, record):
                return "safetensors reads other arrays from it than this package"
        except StoreDamaged as error:
            return str(error)
        found = self._manifest.matches(form)
        if not found:
            return "its tensors are not those of any modality in the manifest"
        modality = found[0] if len(found) == 1 else self._opened.modality_of(key)
        checked.counts[modality.name] = checked.counts.get(modality.name, 0) + 1
        codec, promised = codec_of(value), modality.compression.codec
        if codec != promised:
            return f"its compression is {codec}, but the manifest says {promised}"
        labels = self._maps.labels(found, form, record)
        if isinstance(labels, str):
            return labels
        if labels is not None:
            checked.labels.append((index, *labels))
        return None

    def _is_read_otherwise(self, form: Form, record: memoryview) -> bool:
        """Whether the library that owns the format gives other arrays than this package.

        Records of one header differ in their pixels only, so the first one speaks for all.
        """
        if form.header in self._read_by_library or len(self._read_by_library) >= HEADERS_KEPT:
            return False
        self._read_by_library.add(form.header)
        return not _reads_alike(record)

    @cached_property
    def _opened(self) -> Store:
        """The store, which tells records of the same bands apart by their keys."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExtentsUnusable)  # that is told by the main process
            return open_store(self._store, stage=False)


def _header(value: memoryview) -> bytes | None:
    """The header that a record begins with, None if it begins with none."""
    if codec_of(value) != "none":
        return None
    try:
        return header_of(value)
    except StoreDamaged:
        return None


def _reads_alike(record: memoryview) -> bool:
    """Whether the library that owns the format gives the same arrays as this package."""
    ours, theirs = decode(record), decode_with_safetensors(record)
    return ours.keys() == theirs.keys() and all(
        (array.dtype, array.shape) == (theirs[name].dtype, theirs[name].shape)
        and array.tobytes() == theirs[name].tobytes()
        for name, array in ours.items()
    )
