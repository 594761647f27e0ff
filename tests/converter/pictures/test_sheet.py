"""The contact sheet: partners side by side, official colours, captions, one legend."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress import open_store
from patchpress.converter.pictures.asked import PictureAsked
from patchpress.converter.pictures.choice import RowsAsked
from patchpress.converter.pictures.class_colours import classes_of
from patchpress.converter.pictures.contact import contact_sheet
from patchpress.converter.pictures.page import PicturePage
from patchpress.readers.errors import KeyMissing, OptionError, SelectionEmpty
from tests.converter.pictures.conftest import all_text, check_texts, texts
from tests.support.helpers import radar_with_nan

pytestmark = pytest.mark.slow

Asked = Callable[..., PictureAsked]


def images(page: PicturePage) -> list[Any]:
    """The images of a page, by their places: from left to right, row by row."""
    boxes = [(axes.get_position(), axes.images[0]) for axes in page.figure.axes if axes.images]
    found = sorted(boxes, key=lambda one: (-round(one[0].y0, 3), one[0].x0))
    return [image for _, image in found]


def shown_names(page: PicturePage, asked: PictureAsked) -> list[str]:
    """The patches whose names stand on a page; each is broken into lines."""
    text = "".join(texts(page))
    return [name for name in asked.store.keys("s2") if name in text]


@pytest.mark.parametrize("layout", ["stacked", "native"])
def test_a_row_is_a_patch_with_its_partners(asked: Asked, layout: str) -> None:
    page = contact_sheet(asked(layout))
    text = all_text(page)
    for word in ("True colour", "False colour", "Radar", "Classes", "s2: B04, B03, B02"):
        assert word in text
    assert "s2: B08, B04, B03" in text
    assert "s1: VV, VH, VV - VH" in text
    assert "6 patches of BigEarthNet v2.0 (reBEN), " + f"{layout}.store" in text
    assert "drawn with seed 0 from 12 patches; 3 flagged patches are left out" in text
    assert len(images(page)) == 24
    check_texts(page)


def test_both_layouts_give_the_same_pictures(asked: Asked) -> None:
    pages = [images(contact_sheet(asked(layout, count=2))) for layout in ("stacked", "native")]
    for one, other in zip(*pages, strict=True):
        np.testing.assert_array_equal(one.get_array(), other.get_array())


def test_the_map_has_the_official_colours_and_the_legend_what_is_shown(asked: Asked) -> None:
    given = asked(count=4)
    page = contact_sheet(given)
    manifest = given.store.manifest
    classes = classes_of(manifest.modality("map"), manifest)
    names = shown_names(page, given)
    assert len(names) == 4
    seen: set[int] = set()
    for name, image in zip(names, images(page)[3::4], strict=True):
        codes = given.store.read(f"{name}_reference_map")[0]
        np.testing.assert_array_equal(image.get_array(), classes.paint(codes))
        seen |= set(np.unique(codes).tolist())
    legend = {text for text in texts(page) if text.partition("  ")[0].isdigit()}
    assert legend == {classes.name_of(code) for code in seen}


def test_the_colours_of_the_map_are_in_the_file(asked: Asked, tmp_path: Any) -> None:
    """Pixel by pixel: what matplotlib draws of a map has its colours and no others."""
    from matplotlib.image import imread

    given = asked(count=1, modalities=("map",))
    page = contact_sheet(given)
    (axes,) = [axes for axes in page.figure.axes if axes.images]
    box = axes.get_position()
    pixels = imread(page.save(tmp_path / "map.png"))
    height, width = pixels.shape[:2]
    inside = pixels[
        round((1 - box.y1) * height) + 2 : round((1 - box.y0) * height) - 2,
        round(box.x0 * width) + 2 : round(box.x1 * width) - 2,
        :3,
    ]
    drawn = {tuple(pixel) for pixel in np.round(inside * 255).astype(int).reshape(-1, 3).tolist()}
    known = axes.images[0].get_array().reshape(-1, 3).tolist()
    assert drawn == {tuple(pixel) for pixel in known}


def test_a_caption_has_split_country_labels_and_flags(asked: Asked) -> None:
    given = asked(count=3, rows=RowsAsked(flagged="only"))
    page = contact_sheet(given)
    table = given.store.table(columns=["split", "country", "labels"], flagged="only")
    text = all_text(page)
    for row in table.to_pylist():
        assert f"{row['split']}, {row['country']}" in text
        for label in row["labels"]:
            assert f"• {label}"[:30] in text
    flags = [text for text in texts(page) if text.startswith("flagged: contains_")]
    assert len(flags) == 3


def test_the_same_seed_draws_the_same_patches(asked: Asked) -> None:
    drawn = [
        tuple(shown_names(contact_sheet(asked(count=4, seed=seed)), asked()))
        for seed in (1, 1, 2, 3)
    ]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


def test_split_label_and_filter_choose(asked: Asked) -> None:
    given = asked()
    table = given.store.table("train", columns=["patch_id", "labels"]).to_pylist()
    label = table[0]["labels"][0]
    wanted = {row["patch_id"] for row in table if label in row["labels"]}
    page = contact_sheet(asked(rows=RowsAsked(split="train", labels=(label,)), count=50))
    assert set(shown_names(page, given)) == wanted
    assert f"split train, label {label}"[:40] in all_text(page)
    country = given.store.table(columns="country")["country"][0].as_py()
    page = contact_sheet(asked(rows=RowsAsked(where={"country": country}), count=50))
    known = given.store.table(columns=["patch_id", "country"], flagged="exclude").to_pylist()
    wanted = {row["patch_id"] for row in known if row["country"] == country}
    assert set(shown_names(page, given)) == wanted


def test_keys_of_any_modality_name_their_patches(asked: Asked) -> None:
    given = asked()
    s2, s1, maps = (given.store.keys(name) for name in ("s2", "s1", "map"))
    page = contact_sheet(asked(keys=(s1[3], s2[3], maps[1])))
    assert shown_names(page, given) == [s2[1], s2[3]]
    with pytest.raises(KeyMissing):
        contact_sheet(asked(keys=("nothing",)))


def test_a_stretch_is_shared_by_all_patches(asked: Asked) -> None:
    given = asked(count=2, modalities=("s2",))
    page = contact_sheet(given)
    names = shown_names(page, given)
    red = np.stack([given.store.read(name, bands=["B04"])[0] for name in names])
    low, high = np.percentile(red, (2, 98))
    assert f"B04 {low:,.0f} to {high:,.0f}" in all_text(page)
    for one, band in zip(images(page)[::2], red, strict=True):
        shown = one.get_array()[..., 0]
        assert (shown[band <= low] == 0).all()
        assert (shown[band >= high] == 1).all()


def test_mistakes_are_told(asked: Asked) -> None:
    with pytest.raises(SelectionEmpty, match="splits there"):
        contact_sheet(asked(rows=RowsAsked(split="tran")))
    with pytest.raises(OptionError, match="no class of column 'labels'"):
        contact_sheet(asked(rows=RowsAsked(labels=("Pastres",))))
    with pytest.raises(OptionError, match="no label column"):
        contact_sheet(asked(rows=RowsAsked(target="label")))
    with pytest.raises(OptionError, match="--count must be 1 to 100"):
        contact_sheet(asked(count=0))
    with pytest.raises(SelectionEmpty, match="no modality 's3'"):
        contact_sheet(asked(modalities=("s3",)))


def test_one_bright_patch_does_not_make_the_others_black() -> None:
    """Snow beside woods: by the percentiles alone, woods would be at 0.03."""
    from patchpress.converter.pictures.pixels import _power
    from patchpress.converter.pictures.stretch import Stretch

    woods = np.random.default_rng(1).integers(200, 400, (3, 120, 120)).astype(np.uint16)
    channels = [woods, woods + 20, woods + 10, np.full_like(woods, 9000)]
    stretches = [Stretch.over(same) for same in zip(*channels, strict=True)]
    power = _power([list(one) for one in channels], stretches)
    shown = stretches[0].apply(woods[0]) ** power
    assert np.median(stretches[0].apply(woods[0])) < 0.03
    assert np.median(shown) > 0.1
    alike = [Stretch.over([one]) for one in woods]
    assert _power([list(woods)], alike) > 0.7


def test_pixels_that_are_nan_are_told(tmp_path: Path) -> None:
    store = open_store(radar_with_nan(tmp_path))
    page = contact_sheet(PictureAsked(store=store, place="store", description=None))
    assert "NaN, which is black: radar (a) 145 pixels." in all_text(page)
