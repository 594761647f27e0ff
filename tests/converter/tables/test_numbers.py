"""A number as the target: float32 from the table to the model, and no classes anywhere."""

import json
from pathlib import Path

import numpy as np
import pytest

from patchpress import Samples, open_store
from patchpress.converter.contents.of_store import store_facts
from patchpress.converter.contents.shown import store_text
from patchpress.readers.errors import OptionError, SamplesLeftOut, TableError
from patchpress.readers.format.manifest import from_bytes, to_bytes
from tests.support.helpers import command
from tests.support.ponds import convert_ponds, ponds

TEXT = """
[tables.notes]
file = "heights.csv"

[labels.height]
kind = "number"

[splits]
column = "split"
names = ["train", "test"]
"""
CSV = "patch_id,height,split\na,1.5,train\nb,3,train\nc,nan,test\nd,-0.1,Testing\n"


def stored(tmp_path: Path, csv: str = CSV, text: str = TEXT) -> Path:
    root = ponds(tmp_path)
    (root / "heights.csv").write_text(csv)
    convert_ponds(root, text)
    return tmp_path / "store"


def test_a_number_is_a_target(tmp_path: Path) -> None:
    store = open_store(stored(tmp_path))
    assert (store.manifest.numbers, store.manifest.target) == (("height",), "height")
    assert store.manifest.classes == {}
    assert str(store.table().schema.field("height").type) == "float"
    with pytest.warns(SamplesLeftOut, match="1 without height"):
        samples = Samples(store)
    assert samples.labels.dtype == np.float32
    assert samples.labels.tolist() == [1.5, 3.0, np.float32(-0.1)]
    assert samples.classes == ()
    images, labels = samples[[0, 2]]
    assert images.shape == (2, 1, 4, 4)
    assert labels.dtype == np.float32
    assert labels.tolist() == [1.5, np.float32(-0.1)]
    assert "height: a number" in repr(samples)
    assert len(samples.fraction(0.5)) == 2
    as_double = Samples(store, "train", label_dtype="float64")
    assert as_double.labels.dtype == np.float64


def test_what_needs_classes_says_so(tmp_path: Path) -> None:
    samples = Samples(stored(tmp_path), "train")
    for asked in (samples.class_counts, samples.pos_weight, samples.class_weight,
                  samples.sample_weights, lambda: samples.per_class(1)):  # fmt: skip
        with pytest.raises(OptionError, match="of 'height', which is a number: the store has no"):
            asked()
    for kind in ("int64", "bool"):
        with pytest.raises(OptionError, match="does not hold these numbers"):
            Samples(samples.store, "train", label_dtype=kind)


def test_inspect_tells_what_is_known_of_a_number(tmp_path: Path) -> None:
    facts = store_facts(open_store(stored(tmp_path)), "store")
    known = facts["numbers"]["height"]
    assert known["all rows"]["rows"] == 3
    assert known["all rows"]["absent"] == 1
    assert known["train"] == {"rows": 2, "absent": 0, "min": 1.5, "mean": 2.25, "max": 3.0}
    assert known["test"]["absent"] == 1
    text = store_text(facts)
    assert "column height: a number, the default target" in text
    assert "2.25" in text
    json.dumps(facts)


def test_a_manifest_with_numbers_is_read_as_it_was_written(tmp_path: Path) -> None:
    manifest = open_store(stored(tmp_path)).manifest
    assert from_bytes(to_bytes(manifest)) == manifest


@pytest.mark.slow
def test_commands_refuse_classes_of_a_number_in_a_sentence(tmp_path: Path) -> None:
    store = stored(tmp_path)
    ended = command("copy", store, tmp_path / "part", "--per-class", 1)
    assert ended.code == 2
    assert "'height' is a number, so nothing can be taken a class" in ended.sentence
    ended = command("plot", store, "--picture", "classes", "--out", tmp_path / "p.png")
    assert ended.code == 2
    assert "'height' is a number and has no classes to count" in ended.sentence
    assert command("verify", store).code == 0
    told = command("stats", store, "--split", "train", "--workers", 0).out.splitlines()[-1]
    assert told.split() == ["height", "2", "0", "1.5", "2.25", "3"]
    assert command("copy", store, tmp_path / "part", "--split", "train").code == 0
    assert open_store(tmp_path / "part").manifest.numbers == ("height",)


@pytest.mark.parametrize(
    ("csv", "sentence"),
    [
        (
            "patch_id,height,split\na,tall,train\n",
            "patch a has 'tall' in 'height', which must be a",
        ),
        ("patch_id,height,split\na,1e99,train\n", "no float32 holds it"),
        ("patch_id,high,split\na,1,train\n", "no column 'height'"),
    ],
)
def test_what_is_no_number_is_one_sentence(tmp_path: Path, csv: str, sentence: str) -> None:
    with pytest.raises(TableError, match=sentence):
        stored(tmp_path, csv)
