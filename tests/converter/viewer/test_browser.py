"""The page in a real browser: filter, open a patch, change bands, reload, export, keyboard."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from patchpress import convert, open_store
from patchpress.converter.pictures.class_colours import classes_of
from tests.converter.viewer.conftest import serving
from tests.support.helpers import radar_with_nan, tiny_dataset
from tests.support.synthetic import Row, is_flagged

CHROMIUM = shutil.which("chromium")
playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs chromium and Playwright: make browser"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: make browser"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield started
        started.close()


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A new tab; whatever goes wrong in the page fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda told: wrong.extend([told.text] if told.type == "error" else []))
    yield opened
    context.close()
    assert wrong == []


def look(tab: Any, address: str) -> None:
    tab.goto(address)
    tab.wait_for_selector("body[data-ready]")
    tab.wait_for_selector(".tile img")


def count(tab: Any) -> str:
    return str(tab.inner_text("#count"))


def has_count(tab: Any, text: str) -> None:
    playwright.expect(tab.locator("#count")).to_have_text(text)


def choose(tab: Any, column: str, value: str) -> None:
    tab.check(f'[data-facet="{column}\\a {value}"]')


def canvas_pixels(tab: Any, modality: str) -> Any:
    """The pixels (height, width, 4) that a panel shows."""
    found = tab.eval_on_selector(
        f'.panel[data-modality="{modality}"] canvas',
        "c => [c.width, c.height, Array.from("
        "c.getContext('2d').getImageData(0, 0, c.width, c.height).data)]",
    )
    width, height, data = found
    return np.array(data, np.uint8).reshape(height, width, 4)


def test_the_first_screen(tab: Any, page: str, rows: list[Row]) -> None:
    look(tab, page)
    has_count(tab, f"{len(rows)} patches")
    playwright.expect(tab.locator(".tile img")).to_have_count(len(rows))
    widths = tab.eval_on_selector_all(
        ".tile img", "all => Promise.all(all.map(i => i.decode().then(() => i.naturalWidth)))"
    )
    assert set(widths) == {120}


def test_a_filter_is_in_the_url_and_survives_a_reload(tab: Any, page: str, rows: list[Row]) -> None:
    expected = [row for row in rows if row["split"] == "test"]
    look(tab, page)
    choose(tab, "split", "test")
    has_count(tab, f"{len(expected)} of {len(rows)} patches")
    state = json.loads(unquote(urlsplit(tab.url).fragment))
    assert state == {"values": {"split": ["test"]}}
    tab.reload()
    has_count(tab, f"{len(expected)} of {len(rows)} patches")
    assert tab.is_checked('[data-facet="split\\a test"]')
    tab.go_back()
    has_count(tab, f"{len(rows)} patches")
    tab.go_forward()
    has_count(tab, f"{len(expected)} of {len(rows)} patches")
    tab.click("#chosen button")
    has_count(tab, f"{len(rows)} patches")


def test_search_finds_by_name(tab: Any, page: str, rows: list[Row]) -> None:
    name = rows[3]["patch_id"]
    look(tab, page)
    tab.keyboard.press("/")
    tab.keyboard.type(name.lower())
    has_count(tab, f"1 of {len(rows)} patches")
    assert tab.get_attribute(".tile", "title") == name


def test_a_patch_opens_with_its_pixels_and_their_values(
    tab: Any, page: str, stacked: Path, rows: list[Row]
) -> None:
    store = open_store(stacked)
    look(tab, page)
    tab.click(".tile >> nth=4")
    tab.wait_for_selector("dialog[open] .panel canvas")
    name = tab.inner_text("#patch-name")
    assert name == rows[4]["patch_id"]
    assert tab.locator(".panel").count() == 3
    pixels = store.read(name)
    box = tab.locator('.panel[data-modality="s2"] canvas').first.bounding_box()
    tab.mouse.move(box["x"] + box["width"] * 30.5 / 120, box["y"] + box["height"] * 70.5 / 120)
    playwright.expect(tab.locator("#spectrum-title")).to_have_text(
        "Pixel values, column 30, line 70"
    )
    told = tab.inner_text("#values").split()
    for band, value in zip(
        store.manifest.modalities["s2"].band_names, pixels[:, 70, 30], strict=True
    ):
        assert told[told.index(band) + 1] == str(value)
    codes = store.read(f"{name}_reference_map")[0]
    assert str(codes[70, 30]) in told
    shown = canvas_pixels(tab, "map")[..., :3]
    for code in np.unique(codes):
        assert len(np.unique(shown[codes == code], axis=0)) == 1
    legend = tab.inner_text(".legend")
    assert all(str(code) in legend for code in np.unique(codes))


def test_bands_change_wall_and_patch_and_are_in_the_url(tab: Any, page: str, stacked: Path) -> None:
    look(tab, page)
    before = tab.get_attribute(".tile img", "src")
    tab.select_option("#bands .preset", label="vegetation: near infrared, red, green")
    playwright.expect(tab.locator(".tile img").first).not_to_have_attribute("src", before)
    assert "channel=B08" in tab.get_attribute(".tile img", "src")
    tab.click(".tile >> nth=1")
    tab.wait_for_selector("dialog[open] .panel canvas")
    near_infrared = canvas_pixels(tab, "s2")[..., 0]
    name = tab.inner_text("#patch-name")
    band = open_store(stacked).read(name, bands=["B08"])[0]
    order = np.argsort(band.ravel(), kind="stable")
    assert (np.diff(near_infrared.ravel()[order].astype(int)) >= 0).all()  # brighter is brighter
    address = tab.url
    tab.reload()
    tab.wait_for_selector("dialog[open] .panel canvas")
    assert tab.url == address
    assert tab.inner_text("#patch-name") == name
    np.testing.assert_array_equal(canvas_pixels(tab, "s2")[..., 0], near_infrared)
    tab.keyboard.press("Escape")
    tab.wait_for_selector("dialog:not([open])", state="attached")
    assert "row" not in unquote(tab.url)


def test_each_its_own_stretch_shows_dark_patches_bright(tab: Any, page: str) -> None:
    look(tab, page + "#" + json.dumps({"row": 0, "stretch": "own"}))
    tab.wait_for_selector("dialog[open] .panel canvas")
    pixels = canvas_pixels(tab, "s2")[..., :3]
    assert pixels.max() == 255
    assert pixels.min() == 0


def test_the_map_is_laid_over(tab: Any, page: str) -> None:
    look(tab, page + '#{"row":0}')
    tab.wait_for_selector("dialog[open] .panel canvas")
    over = tab.locator('.panel[data-modality="s2"] canvas.over')
    playwright.expect(over).to_be_hidden()
    tab.check("#overlay")
    playwright.expect(over).to_be_visible()
    tab.fill('input[aria-label="Opacity"]', "0.8")
    assert over.evaluate("one => one.style.opacity") == "0.8"


def test_the_keyboard_walks_the_wall_and_the_patches(tab: Any, page: str, rows: list[Row]) -> None:
    look(tab, page)
    tab.focus("#wall")
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "Enter"):
        tab.keyboard.press(key)
    heading = tab.locator("#patch-name")
    playwright.expect(heading).to_have_text(rows[1]["patch_id"])
    tab.keyboard.press("ArrowRight")
    playwright.expect(heading).to_have_text(rows[2]["patch_id"])
    tab.keyboard.press("ArrowLeft")
    playwright.expect(heading).to_have_text(rows[1]["patch_id"])


def test_a_box_on_the_map_filters(tab: Any, page: str, rows: list[Row]) -> None:
    look(tab, page)
    tab.click("#show-places")
    playwright.expect(tab.locator("#places-help")).to_contain_text(f"{len(rows)} places")
    box = tab.locator("#places-canvas").bounding_box()
    # Portugal is the south-west of what there is.
    tab.mouse.move(box["x"] + 2, box["y"] + box["height"] - 2)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.45, box["y"] + box["height"] * 0.75, steps=4)
    tab.mouse.up()
    expected = [row for row in rows if row["country"] == "Portugal"]
    has_count(tab, f"{len(expected)} of {len(rows)} patches")
    assert len(json.loads(unquote(urlsplit(tab.url).fragment))["box"]) == 4


@pytest.mark.parametrize("kind", ["keys", "parquet", "where"])
def test_exports_are_downloaded(tab: Any, page: str, rows: list[Row], kind: str) -> None:
    look(tab, page)
    choose(tab, "split", "validation")
    has_count(tab, f"{sum(r['split'] == 'validation' for r in rows)} of {len(rows)} patches")
    with tab.expect_download() as download:
        tab.click(f"#export-{kind}")
    data = Path(download.value.path()).read_bytes()
    if kind == "keys":
        assert data.decode().split() == [
            row["patch_id"] for row in rows if row["split"] == "validation"
        ]
    elif kind == "parquet":
        assert data.startswith(b"PAR1")
    else:
        assert data.decode().startswith("--where split=validation")


def test_a_wall_of_many_lines_shows_the_last_patch(
    browser: Any, page: str, rows: list[Row]
) -> None:
    context = browser.new_context(viewport={"width": 900, "height": 420})
    tab = context.new_page()
    look(tab, page + '#{"size":240}')
    assert tab.locator(".tile").count() < len(rows)  # only what is in sight
    tab.focus("#wall")
    tab.keyboard.press("End")
    tab.wait_for_selector(f'.tile[title="{rows[-1]["patch_id"]}"]')
    context.close()


def test_names_of_a_store_are_text_and_never_markup(tab: Any, tmp_path: Path) -> None:
    evil = "p1<img src=x onerror=document.title=1>"
    description = tiny_dataset(tmp_path, {"g": ["p1", "p2", "p3", "p4"]})
    text = description.read_text().replace("name = 'p\\d+'", "name = 'p.+'")
    description.write_text(text)
    first = tmp_path / "raw" / "A" / "g" / "p1"
    first.rename(first.with_name(evil))
    for file in first.with_name(evil).iterdir():
        file.rename(file.with_name(file.name.replace("p1_", f"{evil}_", 1)))
    convert(description, tmp_path / "raw", tmp_path / "store", workers=0)
    with serving(tmp_path / "store") as address:
        look(tab, address)
        assert evil in tab.inner_text("#wall")
        tab.click(".tile >> nth=0")
        tab.wait_for_selector("dialog[open] .panel canvas")
        assert evil in (tab.inner_text("#patch-name"), tab.get_attribute(".tile", "title"))
        assert tab.locator("#wall .caption img, #patch-name img, #row img").count() == 0
        assert tab.title() != "1"


def test_it_is_read_in_the_dark_and_by_the_flagged(
    browser: Any, page: str, rows: list[Row]
) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        tab = context.new_page()
        look(tab, page)
        shades[scheme] = tab.evaluate(
            "() => ['backgroundColor', 'color'].map(n => getComputedStyle(document.body)[n])"
        )
        choose(tab, "contains_seasonal_snow", "yes")
        flagged = sum(row["contains_seasonal_snow"] for row in rows)
        has_count(tab, f"{flagged} of {len(rows)} patches")
        assert any(is_flagged(row) for row in rows)
        context.close()
    assert shades["light"] != shades["dark"]


def test_an_open_map_has_the_colours_of_the_wall(tab: Any, tmp_path: Path) -> None:
    description = tiny_dataset(tmp_path, {"g": ["p1"]}, kind="classes")
    convert(description, tmp_path / "raw", tmp_path / "store", workers=0)
    store = open_store(tmp_path / "store")
    classes = classes_of(store.manifest.modalities["a"], store.manifest)
    with serving(tmp_path / "store") as address:
        look(tab, address)
        tab.click(".tile >> nth=0")
        tab.wait_for_selector("dialog[open] .panel canvas")
        shown = canvas_pixels(tab, "a")[..., :3]
    np.testing.assert_array_equal(shown, classes.paint(store.read("p1")[0]))


def test_a_pixel_with_nan_is_black(tab: Any, tmp_path: Path) -> None:
    with serving(radar_with_nan(tmp_path)) as address:
        look(tab, address)
        tab.click(".tile >> nth=0")
        tab.wait_for_selector("dialog[open] .panel canvas")
        shown = canvas_pixels(tab, "a")[..., :3]
    assert not shown[5, 7].any()
    assert shown.any(axis=-1).sum() == 143
