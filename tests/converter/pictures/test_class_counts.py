"""Bars of classes: the counts are those of the table."""

from collections import Counter
from collections.abc import Callable

import pytest

from patchpress.converter.pictures.asked import PictureAsked
from patchpress.converter.pictures.choice import RowsAsked, find_rows
from patchpress.converter.pictures.class_counts import class_counts, count_classes
from patchpress.converter.pictures.groups import groups_of
from patchpress.converter.pictures.page import GROUP_COLOURS
from patchpress.readers.errors import OptionError
from tests.converter.pictures.conftest import all_text, check_texts, texts

Asked = Callable[..., PictureAsked]


@pytest.mark.parametrize("by", ["split", "country"])
def test_the_counts_are_those_of_the_table(asked: Asked, by: str) -> None:
    given = asked(by=by)
    rows = find_rows(given.store, given.rows, ["labels", by])
    groups = groups_of(given, rows)
    classes = given.store.manifest.classes["labels"]
    counts = count_classes(rows, "labels", classes, groups)
    known = given.store.table(columns=["labels", by], flagged="exclude").to_pylist()
    wanted = Counter((label, row[by]) for row in known for label in row["labels"])
    for (number, label), (group, name) in (
        (one, other) for one in enumerate(classes) for other in enumerate(groups.names)
    ):
        assert counts[number, group] == wanted[label, name]
    page = class_counts(given)
    shown = texts(page)
    for name, count in zip(groups.names, groups.counts.tolist(), strict=True):
        assert f"{name}  {count}" in shown
    check_texts(page)


def test_a_split_has_its_own_colour_whatever_is_shown(asked: Asked) -> None:
    for split, colour in zip(("train", "validation", "test"), GROUP_COLOURS, strict=False):
        given = asked(rows=RowsAsked(split=split))
        found = groups_of(given, find_rows(given.store, given.rows, ["split"]))
        assert (found.names, found.colours) == ((split,), (colour,))


def test_flagged_patches_are_told(asked: Asked) -> None:
    assert "3 flagged patches are left out" in all_text(class_counts(asked()))
    text = all_text(class_counts(asked(rows=RowsAsked(flagged="include"))))
    assert "15 patches; flagged patches are among them" in text


def test_mistakes_are_told(asked: Asked) -> None:
    with pytest.raises(OptionError, match="no column 'contry'; nearest is 'country'"):
        class_counts(asked(by="contry"))
    with pytest.raises(OptionError, match="which cannot be told apart"):
        class_counts(asked(by="labels"))
    with pytest.raises(OptionError, match="which cannot be told apart"):
        class_counts(asked(by="left"))
