"""The first files of archives, unpacked into a folder that is looked at instead of them."""

import lzma
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

from patchpress.converter.drafting.looking import ARCHIVES, Look, format_of
from patchpress.converter.sources.archive_names import Archive, archive_at, archive_name
from patchpress.converter.sources.compression import WIDEST
from patchpress.converter.sources.contents import ZIP
from patchpress.converter.sources.passed_over import has_hidden_part
from patchpress.converter.sources.recognize import kind_of
from patchpress.converter.sources.tar import TarStream
from patchpress.converter.sources.zip_directory import ZipDirectory
from patchpress.readers.errors import PatchpressError, SourceError

MOST = 40  # archives that are opened
FILES = 240  # of an archive that are unpacked
LARGEST = 32 << 20  # bytes of such a file
BYTES = 64 << 20  # of an archive that are unpacked
SEEN = 4_000  # files of an archive that are passed over, at most
_BESIDE = (".json",)


class UnpackedSamples:
    """Which files came out of which archive."""

    def __init__(self) -> None:
        self.archive_of: dict[Path, str] = {}
        """A file that was unpacked -> its archive's name without the ending."""
        self.opened = 0
        self.remarks: list[str] = []
        """A sentence for each archive of which nothing was unpacked."""


def archives_in(look: Look) -> list[Path]:
    """The archives that lie in a folder itself; of several parts the first."""
    found = [look.root.path / name for name in look.root.files if name.lower().endswith(ARCHIVES)]
    parts = [
        look.root.path / name
        for name in look.root.files
        if (known := archive_name(name)) is not None and known.part.strip("a0") == "" and known.part
    ]
    return sorted({*found, *parts})


def unpack_samples(archives: list[Path], target: Path) -> UnpackedSamples:
    """Unpack the first images and JSON files of some archives under `target`.

    Nothing is written outside of it: links, and paths that lead out, are refused by what reads the
    archives.
    """
    samples = UnpackedSamples()
    for file in archives[:MOST]:
        name = archive_name(file.name)
        if name is None:
            samples.remarks.append(f"{file.name} is no archive that is read.")
            continue
        samples.opened += 1
        before, count = len(samples.archive_of), 0
        try:
            for path, data in _first_files(file):
                count += 1
                _write(target / path, data)
                samples.archive_of.setdefault(target / path, name.stem)
        except (PatchpressError, OSError, ValueError, zipfile.BadZipFile, RuntimeError) as error:
            samples.remarks.append(f"{file.name} could not be read to the end: {error}.")
            continue
        if not count:
            samples.remarks.append(f"{file.name} has no images among its first files.")
        elif len(samples.archive_of) == before:
            samples.remarks.append(f"{file.name} has files of the same paths as another archive.")
    if len(archives) > MOST:
        samples.remarks.append(f"{len(archives):,} archives: the first {MOST} were opened.")
    return samples


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(data)


def _first_files(file: Path) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of the first files of an archive that may be of patches."""
    left, count = BYTES, 0
    found = _of_zip(file) if kind_of(file) is ZIP else _of_tar(file)
    with closing(found):
        for path, data in found:
            left, count = left - len(data), count + 1
            yield path, data
            if left <= 0 or count >= FILES:
                return


def _of_zip(file: Path) -> Generator[tuple[str, bytes], None, None]:
    """Files that lie evenly in the archive: a few neighbours at a time, as the files of a patch."""
    ZipDirectory([str(file)])  # refuses what is ambiguous or dangerous
    with zipfile.ZipFile(file) as archive:
        names = [name for name in sorted(archive.namelist()) if _is_wanted(name)]
        groups = [names[at : at + 20] for at in range(0, len(names), 20)]
        step = max(1, len(groups) * 20 // FILES)
        for group in groups[::step]:
            for name in group:
                if archive.getinfo(name).file_size <= LARGEST:
                    yield name, _member(archive, file, name)


def _member(archive: zipfile.ZipFile, file: Path, name: str) -> bytes:
    try:
        with archive.open(name) as opened:
            return opened.read(LARGEST)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError):
        raise SourceError(f"{name} is damaged in it") from None


def _of_tar(file: Path) -> Generator[tuple[str, bytes], None, None]:
    whole = archive_at(file) or Archive((file,))
    with closing(TarStream(whole.files, window=WIDEST, most=4 * BYTES)) as stream:
        for number, member in enumerate(stream):
            if number >= SEEN:
                return
            if _is_wanted(member.path) and member.size <= LARGEST:
                data = bytearray(member.size)
                stream.read_into(memoryview(data))
                yield member.path, bytes(data)


def _is_wanted(path: str) -> bool:
    if path.endswith("/") or has_hidden_part(path) or path.startswith("/") or "\\" in path:
        return False
    inside = ".." not in path.split("/")
    return inside and bool(format_of(path) or path.lower().endswith(_BESIDE))
