"""Values of a data file that are no records of its dataset: left as they are, counted and told."""

from patchpress.converter.text import first_few


class OtherRecords:
    """What programs keep beside records: how many, what they are, and the first few keys."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self._by_kind: dict[str, list[bytes]] = {}

    def add(self, key: bytes, why: str) -> None:
        """Note one: `why` it is no record, in a few words."""
        self.keys.append(key)
        self._by_kind.setdefault(why, []).append(key)

    def __len__(self) -> int:
        return len(self.keys)

    def kinds(self) -> str:
        """How many there are of each kind, with the first few keys of it."""
        return "; ".join(
            f"{len(keys):,} {why} ({first_few([_shown(key) for key in keys[:4]])})"
            for why, keys in self._by_kind.items()
        )


def _shown(key: bytes) -> str:
    """A key as text; bytes that are no text by their numbers."""
    return key.decode("utf-8", "backslashreplace")
