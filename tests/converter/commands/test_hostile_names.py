"""Names with control characters: nothing that is printed moves a cursor, nor makes a line.

A folder, an archive or a manifest of somebody else may have any name.
"""

import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from patchpress import PatchLoader, Samples, convert, open_store, verify
from patchpress.converter.storage.report import report_path
from tests.support.helpers import Ended, command, tiny_dataset

Command = Callable[..., Ended]

ESCAPE, BACKWARDS, LINE = "p1\x1b[2J\x1b]0;owned\x07", "p2\u202egnp.", "p3\nGOOD: all is well"
NAMES = [ESCAPE, BACKWARDS, LINE, "p4\u2066", "p5\x9b31m", "p6\x7f\r"]
UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def assert_plain(text: str) -> None:
    """Nothing in it moves a cursor; and no name has begun a line."""
    found = UNPRINTABLE.search(text)
    assert found is None, repr(text[max(0, found.start() - 40) : found.end() + 10])
    assert not any(line.startswith("GOOD") for line in text.splitlines())


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A description whose names match anything, and a source with such names."""
    description = tiny_dataset(tmp_path, {"g": ["p1"]})
    text = description.read_text().replace("name = 'p\\d+'", "name = 'p(?s:.+)|p1'")
    description.write_text(text)
    first = tmp_path / "raw" / "A" / "g" / "p1"
    for name in NAMES:
        shutil.copytree(first, first.with_name(name))
        for file in first.with_name(name).iterdir():
            file.rename(file.with_name(file.name.replace("p1_", f"{name}_", 1)))
    return description


def test_reports_and_stores_show_such_names_by_number(
    hostile: Path, tmp_path: Path, patchpress: Command
) -> None:
    store = tmp_path / "store"
    ended = command("convert", hostile, tmp_path / "raw", store, "--workers", 0, "-vv")
    assert ended.code == 0, ended.err
    assert_plain(ended.out + ended.err)
    for name in NAMES:
        ended = patchpress("inspect", store, name)
        assert ended.code == 0
        assert_plain(ended.out + ended.err)
    assert "p2\\u202egnp." in patchpress("inspect", store, BACKWARDS).out
    for words in (("inspect", store), ("verify", store), ("index", store), ("stats", store)):
        ended = patchpress(*words)
        assert ended.code == 0
        assert_plain(ended.out + ended.err)
    ended = patchpress("inspect", store, "\x1b[31mnone")
    assert_plain(ended.sentence)
    assert "\\x1b[31mnone" in ended.sentence


def test_damaged_patches_of_such_names_are_told_and_kept_in_the_report(
    hostile: Path, tmp_path: Path, patchpress: Command
) -> None:
    for name in NAMES:
        file = tmp_path / "raw" / "A" / "g" / name / f"{name}_fine.tif"
        file.write_bytes(file.read_bytes()[:-9])
    store = tmp_path / "store"
    words = ("convert", hostile, tmp_path / "raw", store, "--workers", 0, "--on-error", "skip")
    ended = patchpress(*words)
    assert ended.code == 1
    assert_plain(ended.out + ended.err)
    assert "p3\\nGOOD" in ended.out
    text = report_path(store).read_text("utf-8")
    assert_plain(text)
    assert len(json.loads(text)["skipped"]) == len(NAMES)
    ended = patchpress(*words[:-1], "stop", "--overwrite")
    assert ended.code == 1
    assert_plain(ended.sentence)


def test_problems_of_such_records_are_told_by_number(hostile: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    convert(hostile, tmp_path / "raw", store, workers=0)
    for name in NAMES:
        shutil.rmtree(tmp_path / "raw" / "A" / "g" / name)
    verdict = verify(store, tmp_path / "raw", dataset=hostile, workers=0)
    assert not verdict.good
    assert_plain(verdict.text())


def test_archive_members_of_such_names(hostile: Path, tmp_path: Path, patchpress: Command) -> None:
    with tarfile.open(tmp_path / "A.tar", "w") as archive:
        archive.add(tmp_path / "raw" / "A", "A")
        for name in ("A/\x1b[2Jextra", "A/g/../../\x1b[31mout", "A/\udcff\nGOOD"):
            member = tarfile.TarInfo(name)
            archive.addfile(member, io.BytesIO())
    for words in ((), ("--dry-run",), ("--on-error", "skip")):
        ended = patchpress(
            *("convert", hostile, tmp_path / "raw", tmp_path / "store", "--workers", 0, *words),
            *("--path", f"a={tmp_path / 'A.tar'}"),
        )
        assert_plain(ended.out + ended.err)
        shutil.rmtree(tmp_path / "store", ignore_errors=True)


def test_names_that_are_no_text(hostile: Path, tmp_path: Path, patchpress: Command) -> None:
    folder = tmp_path / "raw" / "A" / "g"
    os.rename(os.fsencode(folder / ESCAPE), os.fsencode(folder) + b"/p\xff\x1b[31m")
    ended = patchpress("convert", hostile, tmp_path / "raw", tmp_path / "store", "--workers", 0)
    assert ended.code == 1
    assert_plain(ended.sentence)
    assert "\\udcff" in ended.sentence


def test_manifests_of_such_names(hostile: Path, tmp_path: Path) -> None:
    """Titles and names of classes, bands and splits come from the description of a stranger."""
    text = hostile.read_text()
    text = text.replace('title = "A"', 'title = "A\\u001b[2J\\nGOOD"').replace(
        'version = "1"', 'version = "1\\u202e"'
    )
    hostile.write_text(text)
    store = tmp_path / "\x1b[31mstore"
    report = convert(hostile, tmp_path / "raw", store, workers=0)
    assert_plain(report.text())
    opened = open_store(store)
    samples = Samples(opened, target=None)
    loader = PatchLoader(samples, batch_size=1, output="numpy")
    for shown in (opened, opened.manifest, samples, loader):
        assert_plain(repr(shown))
        assert_plain(shown._repr_html_())
