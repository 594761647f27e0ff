"""Names that cannot be keys of a store are refused before anything is written, by patch."""

import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from patchpress import convert
from patchpress.converter.sources.patch import Patch, name_problem
from patchpress.readers.errors import PatchError
from tests.support.helpers import tiny_dataset


def described(root: Path, name: str, **changes: str) -> Path:
    """A tiny dataset of two patches, one of them with another name, and its description."""
    own = tiny_dataset(root, {"g": ["p1", "p2"]})
    text = own.read_text().replace("'p\\d+'", "'[^/]+?'")
    for old, new in changes.items():
        text = text.replace(old, new)
    own.write_text(text)
    if name != "p2":
        folder = root / "raw" / "A" / "g" / "p2"
        for file in list(folder.iterdir()):
            file.rename(folder / file.name.replace("p2", name, 1))
        os.rename(folder, folder.with_name(name))
    return own


LONG = {'key = "{name}"': f'key = "{"x" * 300}{{name}}{"y" * 300}"'}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize("case", ["long", "surrogate"])
def test_they_are_refused_before_anything_is_written(
    tmp_path: Path, case: str, packed: bool
) -> None:
    name = os.fsdecode(b"p\xff2") if case == "surrogate" else "p2"
    own = described(tmp_path, name, **(LONG if case == "long" else {}))
    source: Path = tmp_path / "raw"
    if packed:
        (tmp_path / "packed").mkdir()
        with tarfile.open(tmp_path / "packed" / "A.tar", "w") as archive:
            archive.add(source / "A", "A")
        source = tmp_path / "packed"
    reason = "has 602 bytes, but a key has 1 to 511" if case == "long" else "not UTF-8"
    with pytest.raises(PatchError, match=f"A/g/p.*{reason}") as refused:
        convert(own, source, tmp_path / "store", workers=0)
    assert len(str(refused.value)) < 500
    if not packed:
        assert not (tmp_path / "store" / "data.mdb").exists()


def test_they_are_left_out_and_listed_if_errors_are_skipped(tmp_path: Path) -> None:
    own = described(tmp_path, os.fsdecode(b"p\xff2"))
    options: Any = {"workers": 0, "on_error": "skip"}
    report = convert(own, tmp_path / "raw", tmp_path / "store", **options)
    assert report.records == {"a": 1}
    assert len(report.skipped) == 1
    assert "not UTF-8" in report.skipped[0]
    assert report.text().encode()


@pytest.mark.parametrize(
    ("key", "fits"),
    [("", False), ("x", True), ("x" * 511, True), ("x" * 512, False), ("ä" * 255, True),
     ("ä" * 256, False), ("a\0b", False), ("\udcff", False)],
)  # fmt: skip
def test_a_key_has_1_to_511_bytes_of_utf_8(key: str, fits: bool) -> None:
    patch = Patch(modality="a", key=key, name="n", identity="n", folder="there")
    assert (name_problem(patch) is None) == fits
