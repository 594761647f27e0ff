"""Patches whose files lie in a tar archive as those of a patch before: read in one piece.

The first file of a patch tells where its others are, if an earlier patch had files of the same
sizes, whose names continue that of the patch in the same way. So all of them are copied at once,
and the headers between them are compared with those that this needs. If anything differs that
tells a name, a kind or a size, `tar.TarStream` reads the files one by one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from patchpress.converter.sources.file_run import RunPart
from patchpress.converter.sources.patch import Patch
from patchpress.converter.sources.tar_header import (
    FILES,
    LONG_NAME,
    HeaderDamaged,
    is_header,
    parse_header,
)

BLOCK = 512
_KIND = slice(156, 157)
_TRIALS = 32  # after so many patches that were not as expected, an archive's are no longer tried


class ReadFile(NamedTuple):
    """A file of a patch that was read by itself."""

    name: str
    nbytes: int
    position: int
    """Where it begins in the unfolded archive."""
    blocks: tuple[bytes, ...]
    """Its header, with the entries before it that tell its name."""


@dataclass(slots=True)
class _Between:
    """What lies before one of the files of a run: an entry with its long name, and its header."""

    begin: int
    nbytes: int
    """Bytes of the file."""
    long_header: bytes
    """The header of the entry that tells the name; empty if the file's own header does."""
    rest: bytes
    """What continues the name of the patch, up to the header."""
    header: bytes
    """As it was for the last patch: those of one scene have the same."""
    size: int
    """Bytes of all three."""
    as_first: bool
    """Whether the file's own header was that of the first file, whose name it begins with only."""

    def fits(self, before: bytes, first: bytes, run: memoryview) -> bool:
        """Whether this is what lies there, for names that begin with `before`.

        `first` is the header of the patch's first file.
        """
        found = bytes(run[self.begin : self.begin + self.size])
        named = self.long_header + before + self.rest
        if found == named + self.header:
            return True
        if self.as_first and found == named + first:
            return True
        if self.long_header:
            header = found[len(named) :]
            if not found.startswith(named):
                return False
        else:
            header = found
        if not is_header(header) or header[_KIND] not in FILES:
            return False
        try:
            _, nbytes, name = parse_header(header)
        except HeaderDamaged:
            return False
        if nbytes != self.nbytes:
            return False
        if not self.long_header:
            return name.encode(errors="surrogateescape") == before + self.rest
        self.header = header
        return True


class RunForm:
    """How the files of a patch lie one after the other."""

    __slots__ = ("_around", "_between", "_first", "_lead", "_spans", "nbytes", "parts")

    def __init__(
        self, lead: bytes, parts: tuple[RunPart, ...], between: tuple[_Between, ...], nbytes: int
    ) -> None:
        self._lead = lead  # what comes before a path in the archive: `./` or nothing
        self.parts, self._between = parts, between
        self.nbytes = nbytes
        """From the beginning of the first file to the end of the last one's last block."""
        self._spans = [slice(one.begin, one.begin + one.size) for one in between]
        # What lies around the names of all `between`, if the first header is `_first`.
        self._around: list[bytes] = []
        self._first = b""

    def fits(self, folder: str, before: str, first: bytes) -> Callable[[memoryview], bool]:
        """Tells of bytes whether they are the files of a patch; `first` is its first header."""
        name = self._lead + _path(folder, before)

        def fits(run: memoryview) -> bool:
            # All at once: most patches have the headers of the one before.
            if first != self._first:
                self._expect(first)
            between = b"".join([run[span] for span in self._spans])
            if between == name.join(self._around):
                return True
            if not all(one.fits(name, first, run) for one in self._between):
                return False
            self._expect(first)
            return True

        return fits

    def _expect(self, first: bytes) -> None:
        """Note what lies around the names of the next patch, as far as it is as the last one."""
        around = [b""]
        for one in self._between:
            around[-1] += one.long_header
            around.append(one.rest + (first if one.as_first else one.header))
        self._around, self._first = around, first


def run_form(folder: str, before: str, files: Sequence[ReadFile]) -> RunForm | None:
    """How the files of a patch lay in an archive; None if not one after the other.

    None too if their names do not all begin with `before`, or are told by other kinds of entries.
    """
    path = _path(folder, before)
    first = files[0].position
    end = first + _whole_blocks(files[0].nbytes)
    lead: bytes | None = None
    parts, between = [RunPart(files[0].name[len(before) :], 0, files[0].nbytes)], []
    for file in files[1:]:
        rest = file.name[len(before) :].encode(errors="surrogateescape")
        *about, header = file.blocks
        if not about:
            name = parse_header(header).name.encode(errors="surrogateescape")
            long_header, size = b"", BLOCK
            told, header = rest, b""
        elif len(about) == 2 and about[0][_KIND] == LONG_NAME:
            long_header, text = about
            name, padded = text.partition(b"\0")[0], text.ljust(_whole_blocks(len(text)), b"\0")
            size = 2 * BLOCK + len(padded)
            told = padded[len(name) - len(rest) :]
        else:
            return None
        if not file.name.startswith(before) or not name.endswith(path + rest):
            return None
        its_lead = name[: -len(path + rest)]
        if its_lead not in (lead, b"", b"./") or (lead is not None and its_lead != lead):
            return None
        lead = its_lead
        if file.position != end + size:
            return None
        as_first = len(about) == 2 and header == files[0].blocks[-1]
        between.append(
            _Between(end - first, file.nbytes, long_header, told, header, size, as_first)
        )
        parts.append(RunPart(file.name[len(before) :], file.position - first, file.nbytes))
        end = file.position + _whole_blocks(file.nbytes)
    if lead is None:
        return None
    return RunForm(lead, tuple(parts), tuple(between), end - first)


def _path(folder: str, before: str) -> bytes:
    path = f"{folder}/{before}" if folder else before
    return path.encode(errors="surrogateescape")


def _whole_blocks(nbytes: int) -> int:
    return nbytes + -nbytes % BLOCK


class RunForms:
    """The forms of an archive's patches, as far as they are known."""

    def __init__(self) -> None:
        self._forms: dict[tuple[str, int, int, str], RunForm] = {}
        self._hits = self._misses = 0

    @property
    def tried(self) -> bool:
        """Whether it is worth to know more forms."""
        return self._misses <= _TRIALS + self._hits // 4

    def expected(self, folder: str, patch: Patch, name: str, nbytes: int) -> RunForm | None:
        """The form of a patch that is as an earlier one.

        `folder` is that of the patch in the archive, and `name` that of its first file: if there is
        a form, it is one of those that the patch must have.
        """
        before = patch.before
        form = self._forms.get((patch.modality, len(folder), len(before), patch.after))
        if form is None or not self.tried:
            return None
        first = form.parts[0]
        return form if first.nbytes == nbytes and name == before + first.rest else None

    def count(self, *, fitted: bool) -> None:
        """Note whether a patch had the form that was expected."""
        if fitted:
            self._hits += 1
        else:
            self._misses += 1

    def learn(self, folder: str, patch: Patch, files: Sequence[ReadFile]) -> None:
        """Expect that patches with names of these lengths will lie as this one did."""
        before = patch.before
        form = run_form(folder, before, files) if len(files) > 1 else None
        if form is not None:
            self._forms[patch.modality, len(folder), len(before), patch.after] = form
