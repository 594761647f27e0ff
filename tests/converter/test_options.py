"""The options of a conversion: keywords with plain strings, each wrong one a sentence."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from patchpress import ConvertOptions, OptionError, convert, dry_run, open_store
from patchpress.converter.options import ConvertKeywords, Layout
from tests.support.helpers import DATASET


def test_the_keywords_are_the_options() -> None:
    assert list(ConvertKeywords.__annotations__) == [field.name for field in fields(ConvertOptions)]


def test_a_conversion_takes_its_options_as_keywords(raw: Path, tmp_path: Path) -> None:
    report = convert(
        DATASET,
        raw,
        tmp_path / "store",
        workers=0,
        layout="native",
        compression="zstd",
        modalities=["s2", "map"],
        limit=2,
        paths={"s2": str(raw / "BigEarthNet-S2")},
    )
    assert report.records == {"s2": 2, "map": 2}
    s2 = open_store(tmp_path / "store").manifest.modalities["s2"]
    assert (s2.layout, s2.compression.codec) == ("native", "zstd")


def test_one_modality_is_a_plain_string(raw: Path, tmp_path: Path) -> None:
    assert ConvertOptions(modalities="s2").modalities == ("s2",)  # type: ignore[arg-type]
    forecast = dry_run(DATASET, raw, tmp_path / "store", modalities="s1", workers=0)
    assert list(forecast.modalities) == ["s1"]


def test_a_description_may_be_a_path(tmp_path: Path) -> None:
    class Place(os.PathLike[str]):
        def __fspath__(self) -> str:
            return str(tmp_path / "mine.toml")

    with pytest.raises(Exception, match=r"mine\.toml"):
        convert(Place(), tmp_path, tmp_path / "store")


# Options that cannot be, and what the sentence says.
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"layot": "native"}, "there is no option 'layot' of a conversion, nearest is 'layout'"),
    ({"colour": 1}, "there is no option 'colour' of a conversion, there are modalities, layout"),
    ({"layout": "nativ"}, "layout 'nativ' is unknown, nearest is 'native'"),
    ({"layout": 3}, "layout 3 is unknown, there are stacked, native"),
    ({"on_error": "go"}, "on-error 'go' is unknown, there are stop, skip"),
    ({"workers": -1}, "workers must be 0 or more, not -1"),
    ({"workers": "2"}, "workers must be 0 or more, not '2'"),
    ({"workers": True}, "workers must be 0 or more, not True"),
    ({"limit": 0}, "limit must be 1 or more, not 0"),
    ({"level": 23, "compression": "zstd"}, "level must be 1 to 22, not 23"),
    ({"level": 3}, "level 3 has no effect without compression zstd"),
]


@pytest.mark.parametrize(("options", "said"), WRONG)
def test_a_wrong_option_is_one_sentence(
    raw: Path, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    for function in (convert, dry_run):
        with pytest.raises(OptionError) as error:
            function(DATASET, raw, tmp_path / "store", **options)
        assert str(error.value).startswith(said)
    assert not (tmp_path / "store").exists()


def test_names_have_their_types_inside() -> None:
    options = ConvertOptions(layout="native", paths={"a": "~/x"})  # type: ignore[arg-type,dict-item]
    assert options.layout is Layout.native
    assert options.paths["a"] == Path.home() / "x"
