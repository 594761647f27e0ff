"""What notebooks and consoles show of samples, statistics and manifests."""

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchpress import Store, open_store
from patchpress.converter.commands.stats import compute
from patchpress.readers.samples import Samples
from patchpress.readers.showing import (
    columns_of,
    html_table,
    listed,
    plain,
    plain_json,
    plain_lines,
)


@pytest.fixture
def opened(stacked: Path) -> Store:
    return open_store(stacked)


def test_samples_say_what_they_are(opened: Store) -> None:
    shown = repr(
        Samples(
            opened, ["train", "val"], bands="rgb", target=["labels", "map"], with_key=True,
            columns=["epsg", "country"],
        )
    )  # fmt: skip
    assert shown == (
        "Samples(10 samples of bigearthnet-v2, splits train, validation; left out: 2 flagged)\n"
        "  image  (3, 120, 120)  uint16   s2: B04, B03, B02\n"
        "  label  (19,)          float32  labels: 19 classes, official order\n"
        "  mask   (120, 120)     int64    classes of labels: 19, official order; -100 for pixels "
        "without a class\n"
        "  epsg   ()             int64    column of the table\n"
        "  key, country"
    )
    apart = repr(Samples(opened, modalities=["s2", "s1"], joined=False, target=None, bands="10m"))
    assert "image_s2  (4, 120, 120)  uint16   s2: B02, B03, B04, B08\n" in apart
    assert "image_s1  (2, 120, 120)  float32  s1: VV, VH" in apart
    assert "15 samples of bigearthnet-v2, all splits)" in apart
    assert "chosen rows" in repr(Samples(opened, Samples(opened).subset([1])))


def test_samples_are_a_table_in_a_notebook(opened: Store) -> None:
    shown = Samples(opened, "train", with_key=True)._repr_html_()
    assert "7 samples of bigearthnet-v2, split train; left out: 2 flagged" in shown
    assert "<td>image</td><td>(12, 120, 120)</td><td>uint16</td>" in shown
    assert "<td>key</td>" in shown
    assert shown.count("<tr>") == 4


def test_statistics_are_a_table(opened: Store) -> None:
    (found,) = compute(opened.path, "train", ["s2"], workers=0)
    lines = repr(found).splitlines()
    assert lines[0] == "Statistics(s2, train: 7 patches, 12 bands)"
    assert lines[1].split() == ["band", "mean", "std", "min", "max", "NaN"]
    assert lines[2].split()[:2] == ["B01", f"{found.bands[0].mean:.6g}"]
    assert len(lines) == 14
    assert found._repr_html_().count("<tr>") == 13
    assert "7 patches, 1 band)" in repr(found.pick(["B01"]))


def test_statistics_of_many_bands_are_cut(opened: Store) -> None:
    from dataclasses import replace

    (found,) = compute(opened.path, "train", ["s2"], workers=0)
    many = replace(found, bands=found.bands * 20)
    assert len(repr(many).splitlines()) == 23
    assert repr(many).endswith("… and 220 bands more")
    assert many._repr_html_().count("<tr>") == 241


def test_records_say_what_they_are(opened: Store) -> None:
    keys = opened.keys("s2")
    assert repr(opened.records(keys, "rgb")) == (
        "Records(15 of s2, each (3, 120, 120) uint16: B04, B03, B02)"
    )
    assert repr(opened.records(opened.keys("s1"))) == (
        "Records(15 of s1, each (2, 120, 120) float32: VV, VH)"
    )
    assert listed([f"B{k}" for k in range(22)]).endswith("B19, … and 2 more")


def test_a_manifest_says_what_a_store_holds(opened: Store) -> None:
    lines = repr(opened.manifest).splitlines()
    assert lines[0] == "Manifest(bigearthnet-v2 2.0.0: 15 rows, 3 of them flagged)"
    assert [line.split()[:2] for line in lines[1:]] == [
        ["modality", "s2"], ["modality", "s1"], ["modality", "map"],
        ["split", "train"], ["split", "validation"], ["split", "test"], ["labels", "labels"],
    ]  # fmt: skip
    assert "split     train       7 rows, and 2 flagged" in repr(opened.manifest)
    assert "19 classes, the default target" in lines[-1]
    assert "<td>train</td><td>7 rows, and 2 flagged</td>" in opened.manifest._repr_html_()


def test_html_is_escaped() -> None:
    assert html_table("a < b", ["<h>"], [("&", 1)]) == (
        "<p>a &lt; b</p><table><tr><th>&lt;h&gt;</th></tr><tr><td>&amp;</td><td>1</td></tr></table>"
    )
    assert columns_of([]) == []


def test_control_characters_are_shown_by_number() -> None:
    wild = "a" + "".join(map(chr, (0x1B, 0x0A, 0x9B, 0x7F, 0x202E, 0x2066, 0xDCFF, 0xFEFF))) + "ä"
    shown = "a\\x1b\\n\\x9b\\x7f\\u202e\\u2066\\udcff\\ufeffä"
    assert plain(wild) == shown
    assert columns_of([(wild,)]) == [f"  {shown}"]
    assert shown in html_table(wild, [wild], [[wild]])
    assert plain_lines("a\tb\nc\x1b") == "a\tb\nc\\x1b"


# Halves of characters as names of files have them, which are bytes that are no UTF-8.
BYTES = st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"])


@given(st.text() | st.text(st.characters(categories=["Cc", "Cf"]) | BYTES))
def test_json_says_the_same_without_control_characters(text: str) -> None:
    written = plain_json(json.dumps([text], ensure_ascii=False))
    assert json.loads(written) == [text]
    assert plain(written) == written


@given(st.text())
def test_plain_text_has_no_control_characters(text: str) -> None:
    assert not [c for c in plain(text) if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    assert plain(plain(text)) == plain(text)
