"""What comes in the place of an archive is called what it is, and the way out is named."""

import bz2
import gzip
import io
import lzma
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import pytest
import zstandard

from patchpress.converter.sources.contents import content
from patchpress.readers.errors import SourceError
from tests.support.helpers import Ended, made, stored_values
from tests.support.packing import CODECS, entries, entry, members, packed, write

pytestmark = pytest.mark.slow

S2 = "BigEarthNet-S2"
Command = Callable[..., Ended]

POINTER = b"""version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 59000000000
"""


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a/b.tif", b"x" * 2000)
    return out.getvalue()


KINDS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty: download it again"),
    "web page": (b"\n <!DOCTYPE HTML>\n<html><head>", "is a web page (HTML): download it again"),
    "pointer": (POINTER, "is a Git LFS pointer: fetch it with `git lfs pull`"),
    "json": (b'{"error": "quota"}', "is a JSON text, perhaps the answer of a server: download"),
    "xml": (b'<?xml version="1.0"?><Error>', "is an XML text, perhaps the answer of a server"),
    "text": (b"Too many requests\n", "is a text: download it again"),
    "split zip": (b"PK\7\x08" + zipped(), "is the first part of a zip archive that was split"),
    "xz": (lzma.compress(b"x" * 999), "is no tar archive: it has a text in it"),
    "bzip2": (bz2.compress(b"x" * 999), "is no tar archive: it has a text in it"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4" + bytes(600), "is a 7z archive: unpack it"),
    "zeros": (bytes(1 << 20), "is nothing but zeros: its download did not end"),
    "gzip of zip": (gzip.compress(zipped()), "is no tar archive: it has a zip archive in it"),
    "gzip of gzip": (gzip.compress(gzip.compress(zipped())), "it has gzip data in it"),
    "zstd of noise": (zstandard.compress(bytes(range(1, 256)) * 9), "it has other data in it"),
}


@pytest.mark.parametrize(("kind", "codec"), list(zip(KINDS, cycle(CODECS))))
def test_it_is_called_what_it_is(
    raw: Path, tmp_path: Path, patchpress: Command, kind: str, codec: str
) -> None:
    data, said = KINDS[kind]
    source = packed(raw, tmp_path / "packed", codec)
    path = source / f"{S2}.{codec}"
    path.write_bytes(data)
    for dry in ((), ("--dry-run",)):
        ended = patchpress("convert", "bigearthnet-v2", source, tmp_path / "store", *dry)
        assert ended.code == 1
        assert ended.sentence.startswith(f"{path} is ")
        assert said in ended.sentence
    assert kind == "zeros" or not (tmp_path / "store").exists()  # an empty archive is all zeros


@pytest.mark.parametrize("named", ["tar", "tar.gz", "tar.zst", "tgz"])
def test_the_name_does_not_say_how_it_is_packed(raw: Path, tmp_path: Path, named: str) -> None:
    source = packed(raw, tmp_path / "packed", "tar")
    made(raw, tmp_path / "whole")
    plain = (source / f"{S2}.tar").read_bytes()
    for number, pack in enumerate(CODECS.values()):
        (source / f"{S2}.tar").unlink(missing_ok=True)
        (source / f"{S2}.{named}").write_bytes(pack(plain))
        made(source, tmp_path / f"store{number}")
        assert stored_values(tmp_path / f"store{number}") == stored_values(tmp_path / "whole")


def tar(*words: object, cwd: Path) -> None:
    if not shutil.which("tar"):
        pytest.skip("there is no GNU tar")
    subprocess.run(["tar", *map(str, words)], cwd=cwd, check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_a_volume_label_is_passed_over(raw: Path, tmp_path: Path, form: str) -> None:
    source = packed(raw, tmp_path / "packed", "tar")
    tar(f"--format={form}", "-V", "BigEarthNet", "-cf", source / f"{S2}.tar", S2, cwd=raw)
    report = made(source, tmp_path / "store")
    made(raw, tmp_path / "whole")
    assert stored_values(tmp_path / "store") == stored_values(tmp_path / "whole")
    assert report.passed_over_in_archives == {}


def test_an_incremental_archive_is_read(raw: Path, tmp_path: Path) -> None:
    source = packed(raw, tmp_path / "packed", "tar")
    snapshot = tmp_path / "snapshot"
    tar("-g", snapshot, "-cf", source / f"{S2}.tar", S2, cwd=raw)
    made(source, tmp_path / "store")
    made(raw, tmp_path / "whole")
    assert stored_values(tmp_path / "store") == stored_values(tmp_path / "whole")


@pytest.mark.parametrize(
    "form", [("gnu", ""), ("posix", "0.0"), ("posix", "0.1"), ("posix", "1.0")], ids="-".join
)
def test_a_sparse_file_is_refused(raw: Path, tmp_path: Path, form: tuple[str, str]) -> None:
    source = packed(raw, tmp_path / "packed", "tar")
    with (raw / S2 / "sparse.tif").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(b"x")
    kind, version = form
    words = [f"--format={kind}", "--sparse"] + ([f"--sparse-version={version}"] if version else [])
    tar(*words, "-cf", source / f"{S2}.tar", S2, cwd=raw)
    with pytest.raises(SourceError, match=r"S2\.tar has a sparse file in it"):
        made(source, tmp_path / "store")


def test_volumes_of_an_archive_are_refused(raw: Path, tmp_path: Path) -> None:
    source = packed(raw, tmp_path / "packed", "tar")
    # A file is cut where the first volume ends, so that the second begins in its middle.
    names = [f"-f{tmp_path / f'v{n}.tar'}" for n in range(60)]
    tar("-M", "-L", 200, "--format=gnu", "-c", *names, S2, cwd=raw)
    shutil.copy(tmp_path / "v1.tar", source / f"{S2}.tar")
    with pytest.raises(SourceError, match=r"S2\.tar is a part of a multi-volume archive"):
        made(source, tmp_path / "store")
    shutil.copy(tmp_path / "v0.tar", source / f"{S2}.tar")
    with pytest.raises(SourceError, match=r"S2\.tar ends early"):
        made(source, tmp_path / "store")


def test_an_entry_of_a_kind_that_nobody_knows_is_named(raw: Path, tmp_path: Path) -> None:
    source = packed(raw, tmp_path / "packed", "tar")
    parts = entries(raw, members(raw, S2))
    write(source / f"{S2}.tar", [*parts[:20], entry("odd", b"", b"Z"), *parts[20:]])
    with pytest.raises(SourceError, match=r"unknown kind b'Z' \(odd\)"):
        made(source, tmp_path / "store")


def test_a_tar_header_is_known_whatever_its_name_begins_with() -> None:
    for name in ("PK\x03\x04.tif", "version https://git-lfs", "<html", "BZh", "{"):
        for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            found = content(tarfile.TarInfo(name).tobuf(form)[:512])
            assert found is not None
            assert found.name == "a tar archive"
