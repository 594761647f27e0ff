"""What splits are called in a folder for the Hugging Face Hub."""

import re
from collections.abc import Iterable

WITHOUT_SPLITS, NO_SPLIT = "train", "no_split"
"""What rows are in, of all formats, if the store has no splits at all, and if they have none."""


class SplitNames:
    """Splits as `datasets` may call them: letters, digits and ``_``; ``all`` means all of them."""

    def __init__(self, splits: Iterable[str]) -> None:
        self._names: dict[str | None, str] = {}
        self._changed: list[str] = []
        for split in splits:
            self._add(split)
        self._has_splits = bool(self._names)

    def _add(self, split: str | None) -> None:
        if split is None:
            name = NO_SPLIT if self._has_splits else WITHOUT_SPLITS
        else:
            name = re.sub(r"[^A-Za-z0-9_]", "_", split)
            name = f"{name}_" if name in ("", "all") else name
        while name in self._names.values():
            name += "_"
        self._names[split] = name
        if split is not None and name != split:
            self._changed.append(f"{split} is {name}")

    @property
    def known(self) -> list[str]:
        """All names, in the order of the store's splits."""
        return list(self._names.values())

    def of_rows(self, splits: Iterable[str | None]) -> list[str]:
        """The name for each row's split."""
        found = []
        for split in splits:
            if split not in self._names:
                self._add(split)
            found.append(self._names[split])
        return found

    def notes(self) -> list[str]:
        """A sentence for each kind of name that is not the store's."""
        told = []
        if self._changed:
            told.append(f"splits with a name that datasets can have: {', '.join(self._changed)}")
        if None in self._names:
            told.append(without_split_note(self._names[None], has_splits=self._has_splits))
        return told


def without_split_note(name: str, *, has_splits: bool) -> str:
    """A sentence that tells what the files of rows without a split are called."""
    what = "rows without a split" if has_splits else "the store has no splits: rows"
    return f"{what} are in {name!r}"
