"""Whether the keys of patches come in ascending order, found out while they pass."""

from collections.abc import Iterable, Iterator

from patchpress.converter.sources.patch import Patch


class OrderOfKeys:
    """Looks at the keys of one walk after the other; what it knows is of the last whole one."""

    def __init__(self, root: object) -> None:
        """`root` is what is walked through, for the error."""
        self._root = root
        self._ascending: bool | None = None

    def watched(self, patches: Iterable[Patch]) -> Iterator[Patch]:
        """The patches, as they come."""
        last, ascending = "", True
        for patch in patches:
            ascending &= patch.key >= last
            last = patch.key
            yield patch
        self._ascending = ascending

    @property
    def ascending(self) -> bool:
        """Whether the keys came in ascending order.

        Raises:
            RuntimeError: no walk has come to its end.
        """
        if self._ascending is None:
            raise RuntimeError(f"the order of {self._root} is known after a whole walk")
        return self._ascending
