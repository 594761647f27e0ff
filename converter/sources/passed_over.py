"""What a source has that is no patch: hidden files, and files that match nothing."""

from collections.abc import Collection
from dataclasses import dataclass, field

LISTED = 10_000  # names that are kept for the report; more are counted
NAMES_TOLD = 3
_LONGEST = 500  # characters of a name that are kept

# What systems and programs put into folders unasked, beside names that begin with a dot.
_HIDDEN = frozenset(
    (
        "__MACOSX",
        "@eaDir",
        "#recycle",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
        "Thumbs.db",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "Desktop.ini",
        "Icon\r",
    )
)
_IMAGES = (".tif", ".tiff")


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is never a band, a patch, a folder or an archive."""
    return name[:1] == "." or name in _HIDDEN


def has_hidden_part(path: str) -> bool:
    """Whether a path has a hidden file or folder in it."""
    return path[:1] == "." or "/." in path or not _HIDDEN.isdisjoint(path.split("/"))


def hidden_among(names: Collection[str]) -> list[str]:
    """The hidden ones of these names: as a rule none, which is seen without a look at each."""
    if "\n." not in "\n" + "\n".join(names) and _HIDDEN.isdisjoint(names):
        return []
    return [name for name in names if is_hidden(name)]


@dataclass
class PassedOver:
    """The files and folders of one place that are no patches."""

    unmatched: int = 0
    """How many match nothing that is looked for."""
    names: list[str] = field(default_factory=list)
    """The first `LISTED` of these; folders end in ``/``, and long names are cut."""
    hidden: int = 0
    """How many are hidden."""
    others: int = 0
    """Files of an archive that lie in the folder of a modality that is not read from it."""

    def __bool__(self) -> bool:
        return bool(self.unmatched or self.hidden or self.others)

    def add(self, name: str) -> None:
        """Note one that matches nothing."""
        self.unmatched += 1
        if len(self.names) < LISTED:
            self.names.append(name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…")

    def examples(self) -> str:
        """A few names, first those that look as if they should be patches."""
        likely = sorted(self.names, key=lambda name: not _looks_like_a_patch(name))
        return ", ".join(likely[:NAMES_TOLD]) + (", …" if self.unmatched > NAMES_TOLD else "")


def _looks_like_a_patch(name: str) -> bool:
    return name.endswith("/") or name.lower().endswith(_IMAGES)


def passed_over_lines(
    of_folders: dict[str, PassedOver], of_archives: dict[str, PassedOver]
) -> list[str]:
    """Lines that tell what was passed over: by modality, and by archive."""
    lines = []
    for name, found in of_folders.items():
        if found.unmatched:
            lines.append(
                f"  entries of the {name} folder that are no patches: {found.unmatched:,} "
                f"({found.examples()})"
            )
    for name, found in of_archives.items():
        if found.unmatched:
            lines.append(
                f"  files of {name} that belong to no patch: {found.unmatched:,} "
                f"({found.examples()})"
            )
        if found.others:
            lines.append(
                f"  files of {name} that belong to modalities not read from it: {found.others:,}"
            )
    hidden = sum(found.hidden for found in (*of_folders.values(), *of_archives.values()))
    if hidden:
        lines.append(f"  hidden files, passed over: {hidden:,}")
    return lines
