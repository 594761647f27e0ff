"""The records of a store, read back in the order of their keys, and checked one by one."""

from collections.abc import Iterator
from contextlib import suppress

import xxhash

from patchpress.converter.text import first_few, several
from patchpress.readers.access.extents_file import read_extents
from patchpress.readers.access.scan import HEADERS_KEPT, HeaderList
from patchpress.readers.access.shards import Shards
from patchpress.readers.errors import StoreDamaged
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.compression import Decompressor, codec_of
from patchpress.readers.format.manifest import OTHER_VALUES, ContentDigest
from patchpress.readers.format.record import decode, decode_with_safetensors, form_in
from patchpress.readers.format.shard_rule import shard_of
from patchpress.readers.store import Store


class RecordsReadBack:
    """Checks each record against the manifest, and counts the right ones by modality."""

    def __init__(self, store: Store) -> None:
        self.keys: list[str] = []
        """Of all records that were read."""
        self.checksums: list[str] = []
        """XXH3-64 of each of them, 16 hexadecimal digits."""
        self.headers = HeaderList()
        """The headers that records begin with."""
        self.others: list[bytes] = []
        """Keys of values that are no records, as the manifest says that there are some."""
        self._store = store
        self._others = int(store.manifest.options.get(OTHER_VALUES) or 0)
        self._listed = frozenset(store.keys()) if self._others else frozenset()
        self._counts = dict.fromkeys(store.manifest.modalities, 0)
        self._shards = Shards(store.path, store.manifest.shards, readahead=True)
        # Of each shard that was read.
        self._digests: list[ContentDigest] = []
        self._misplaced: list[list[str]] = []
        self._decompress = Decompressor(store.manifest.record_limit)
        self._read_by_library: set[bytes] = set()

    def values(self, number: int) -> Iterator[tuple[str, memoryview]]:
        """Each key and its record as stored, from the file of a shard that readers read, too.

        All shards are to be read, in their order.

        Raises:
            StoreDamaged: it is not as long as the manifest says, or LMDB would not find its way.
        """
        self._digests.append(ContentDigest())
        self._misplaced.append([])
        data = self._shards.open(number).file.pages
        tree = Tree(data, self._shards.path(number))
        tree.check_pages()
        for value in tree.values():
            key = value.key.decode(errors="backslashreplace")
            if self._others and key not in self._listed:
                self.others.append(value.key)
                continue
            if len(self._shards) > 1 and shard_of(key, len(self._shards)) != number:
                self._misplaced[-1].append(key)
            yield key, data[value.offset : value.offset + value.length]

    def check(self, key: str, value: memoryview) -> str | None:
        """Note a record; what is wrong with its bytes, None if nothing is."""
        self.headers.add(value)
        checksum = xxhash.xxh3_64_intdigest(value)
        self.keys.append(key)
        self.checksums.append(f"{checksum:016x}")
        with suppress(ValueError):  # a key out of order: the digest will differ
            self._digests[-1].add(key, checksum)
        return self._problem(key, value)

    def _problem(self, key: str, value: memoryview) -> str | None:
        try:
            record = self._decompress(value)
            form = form_in(record)
            # Records of one header differ in their pixels only, so the first one speaks for all.
            known = form.header in self._read_by_library
            if not known and len(self._read_by_library) < HEADERS_KEPT:
                self._read_by_library.add(form.header)
                if not _reads_alike(record):
                    return "safetensors reads other arrays from it than this package"
        except StoreDamaged as error:
            return str(error)
        found = self._store.manifest.matches(form)
        if not found:
            return "its tensors are not those of any modality in the manifest"
        modality = found[0] if len(found) == 1 else self._store.modality_of(key)
        self._counts[modality.name] += 1
        codec, promised = codec_of(value), modality.compression.codec
        if codec != promised:
            return f"its compression is {codec}, but the manifest says {promised}"
        return None

    def problems(self) -> list[str]:
        """A sentence for each number that is not the manifest's, after all records."""
        manifest = self._store.manifest
        problems = [
            f"{self._counts[name]:,} {name} records where the manifest counts {modality.records:,}"
            for name, modality in manifest.modalities.items()
            if self._counts[name] != modality.records
        ]
        if len(self.others) != self._others:
            problems.append(
                f"{len(self.others):,} values that are no records where the manifest counts "
                f"{self._others:,}: run `patchpress index {self._store.path}`"
            )
        for shard, digest, misplaced in zip(
            manifest.shards, self._digests, self._misplaced, strict=True
        ):
            if digest.text() != shard.digest:
                where = f" of {shard.path}" if len(manifest.shards) > 1 else ""
                problems.append(
                    f"keys and checksums{where} differ from the digest in the manifest: "
                    f"{self._way_out()}"
                )
            if misplaced:
                problems.append(
                    f"{shard.path} has {several(len(misplaced), 'record')} of other shards, by "
                    f"their keys ({first_few(misplaced)}): put the files of the shards where they "
                    "belong, or convert the store again"
                )
        return problems

    def _way_out(self) -> str:
        """What to do about other records than the manifest's."""
        files = [shard.path for shard in self._store.manifest.shards]
        if read_extents(self._store.path, files)[0] is not None:
            # They were made from this very data file: no program has written it since.
            return "the file is damaged, so copy or convert the store again"
        return (
            f"run `patchpress index {self._store.path}` if another program changed them, else copy "
            "or convert the store again"
        )


def _reads_alike(record: memoryview) -> bool:
    """Whether the library that owns the format gives the same arrays as this package."""
    ours, theirs = decode(record), decode_with_safetensors(record)
    return ours.keys() == theirs.keys() and all(
        (array.dtype, array.shape) == (theirs[name].dtype, theirs[name].shape)
        and array.tobytes() == theirs[name].tobytes()
        for name, array in ours.items()
    )
