"""Very many names that are only counted, and told in the end: kept compressed meanwhile."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

import zstandard

if TYPE_CHECKING:
    import pyarrow as pa


class PackedNames(Sequence[str]):
    """Names in their order, at about a fifth of their bytes; made to be read from first to last."""

    def __init__(self) -> None:
        self._parts: list[tuple[int, bytes]] = []
        """Of each part how many names it has, and these, compressed."""
        self._count = 0

    def add(self, names: "pa.Array") -> None:
        """Append some, strings without nulls."""
        import pyarrow as pa

        if not len(names):
            return
        sink = pa.BufferOutputStream()
        batch = pa.record_batch([names], ["names"])
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        packed = zstandard.ZstdCompressor(level=1).compress(sink.getvalue())
        self._parts.append((len(names), packed))
        self._count += len(names)

    def __len__(self) -> int:
        return self._count

    def parts(self) -> Iterator[list[str]]:
        """The names, some thousands at a time."""
        for at in range(len(self._parts)):
            yield self._part(at)

    def __iter__(self) -> Iterator[str]:
        for part in self.parts():
            yield from part

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...
    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(self._count))]
        left = at + self._count if at < 0 else at
        for number, (count, _) in enumerate(self._parts):
            if 0 <= left < count:
                return self._part(number)[left]
            left -= count
        raise IndexError(at)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(
            one == two for one, two in zip(self, other, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def _part(self, number: int) -> list[str]:
        import pyarrow as pa

        data = zstandard.ZstdDecompressor().decompress(self._parts[number][1])
        names: list[str] = pa.ipc.open_stream(data).read_all()["names"].to_pylist()
        return names
