"""What the page's server answers, against the store itself."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPCookieProcessor, Request, build_opener, urlopen

import imagecodecs
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from patchpress import Samples, convert, open_store, view
from patchpress.converter.viewer.catalogue import Catalogue
from patchpress.converter.viewer.images import Images
from patchpress.readers.errors import OptionError
from tests.converter.viewer.conftest import serving
from tests.support.helpers import Ended, command, radar_with_nan, tiny_dataset
from tests.support.synthetic import Row, is_flagged

pytestmark = pytest.mark.slow


def got(address: str, **headers: str) -> tuple[HTTPResponse, bytes]:
    with urlopen(Request(address, headers=headers), timeout=60) as answer:  # noqa: S310
        return answer, answer.read()


def refused(address: str, **headers: str) -> tuple[int, str]:
    with pytest.raises(HTTPError) as error:
        got(address, **headers)
    return error.value.code, error.value.read().decode()


def asked(**parts: Any) -> str:
    return quote(json.dumps(parts))


def selected(page: str, **parts: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(got(f"{page}select?f={asked(**parts)}")[1])
    return found


def names(page: str, **parts: Any) -> list[str]:
    rows = json.loads(got(f"{page}rows?f={asked(**parts)}&start=0&count=1000")[1])
    return [row["name"] for row in rows]


def test_the_summary_is_the_manifest_s(page: str, stacked: Path) -> None:
    manifest = open_store(stacked).manifest
    told = json.loads(got(page + "store")[1])
    assert told["rows"] == manifest.rows
    for modality in told["modalities"]:
        known = manifest.modalities[modality["name"]]
        assert [band["name"] for band in modality["bands"]] == list(known.band_names)
        assert modality["records"] == known.records
    kinds = {facet["column"]: facet["kind"] for facet in told["facets"]}
    assert kinds["split"] == "split"
    assert kinds["labels"] == "labels"
    assert kinds["contains_seasonal_snow"] == "flag"
    assert kinds["has_s1"] == "presence"
    assert kinds["country"] == "column"
    assert "patch_id" not in kinds
    assert "s2_checksum" not in kinds


def test_counts_are_the_table_s(page: str, rows: list[Row]) -> None:
    told = json.loads(got(page + "store")[1])
    counts = selected(page)["counts"]
    for facet in told["facets"]:
        if facet["column"] not in rows[0]:
            continue
        column = [dict(row)[facet["column"]] for row in rows]
        lists: list[Any] = [one if isinstance(one, list) else [one] for one in column]
        for value, count in zip(facet["values"], counts[facet["column"]], strict=True):
            assert count == sum(value in one for one in lists)


def test_filters_are_those_of_loaders(page: str, stacked: Path, rows: list[Row]) -> None:
    labels = sorted({label for row in rows for label in row["labels"]})[:3]
    for values in (
        {"split": ["train"]},
        {"split": ["train", "test"], "labels": labels},
        {"country": ["Portugal"]},
        {"contains_seasonal_snow": [True]},
        {"has_s1": [True], "labels": labels[:1]},
    ):
        where = dict(values)
        samples = Samples(open_store(stacked), where=where, flagged="include", target=None)
        expected = open_store(stacked).table(samples, ["patch_id"])["patch_id"].to_pylist()
        assert names(page, values=values) == expected
        assert selected(page, values=values)["count"] == len(expected) > 0


def test_all_labels_at_once(page: str, rows: list[Row]) -> None:
    row = next(row for row in rows if len(row["labels"]) > 1)
    wanted = row["labels"][:2]
    expected = [one["patch_id"] for one in rows if set(wanted) <= set(one["labels"])]
    assert names(page, values={"labels": wanted}, every=["labels"]) == expected
    counts = selected(page, values={"labels": wanted}, every=["labels"])["counts"]["labels"]
    assert max(counts) == len(expected)  # of what is seen, and not of the other rows


def test_a_facet_counts_what_another_choice_of_it_would_give(page: str, rows: list[Row]) -> None:
    counts = selected(page, values={"split": ["test"]})["counts"]["split"]
    assert sum(counts) == len(rows)
    countries = selected(page, values={"split": ["test"]})["counts"]["country"]
    assert sum(countries) == sum(row["split"] == "test" for row in rows)


def test_search_sort_and_chance(page: str, rows: list[Row]) -> None:
    whole = [row["patch_id"] for row in rows]
    assert names(page) == whole
    assert names(page, text="t29snb") == [name for name in whole if "T29SNB" in name]
    assert names(page, text="S1B_IW") == [
        row["patch_id"] for row in rows if row["s1_name"].startswith("S1B_IW")
    ]
    assert names(page, text=".*") == []  # a part of a name, and no expression
    assert names(page, order="patch_id", descending=True) == sorted(whole, reverse=True)
    by_split = names(page, order="split")
    split = {row["patch_id"]: row["split"] for row in rows}
    assert [split[name] for name in by_split] == sorted(
        split.values(), key=["train", "validation", "test"].index
    )
    shuffled = names(page, order="shuffled")
    assert shuffled != whole
    assert sorted(shuffled) == sorted(whole)
    assert names(page, order="shuffled") == shuffled


def test_a_box_holds_what_lies_in_it(page: str, rows: list[Row]) -> None:
    places = np.frombuffer(got(page + "places")[1], "<f4").reshape(-1, 2)
    assert len(places) == len(rows)
    assert np.isfinite(places).all()
    for (west, _), row in zip(places, rows, strict=True):
        # Tiles of zone 29 lie between 12 and 6 degrees west, and so on.
        zone = int(row["patch_id"].split("_T")[1][:2])
        assert 6 * zone - 186 <= west <= 6 * zone - 180
    inside = names(page, box=[-12, 30, 0, 45])
    assert inside == [row["patch_id"] for row in rows if row["country"] == "Portugal"]
    bits = np.unpackbits(
        np.frombuffer(got(f"{page}inside?f={asked(box=[-12, 30, 0, 45])}")[1], np.uint8),
        count=len(rows), bitorder="little",
    )  # fmt: skip
    assert [row["patch_id"] for row, bit in zip(rows, bits, strict=True) if bit] == inside


def test_coasts_are_drawn_without_a_network(page: str) -> None:
    rings = json.loads(got(page + "coastline")[1])
    points = np.concatenate([np.reshape(ring, (-1, 2)) for ring in rings])
    assert len(points) > 10_000
    assert abs(points[:, 0]).max() < 540  # a ring that crosses 180 degrees goes on beyond it
    assert abs(points[:, 1]).max() <= 90
    lisbon = np.hypot(points[:, 0] + 9.4, points[:, 1] - 38.7)
    assert lisbon.min() < 0.3


def test_pixels_are_the_record_s(page: str, stacked: Path) -> None:
    store = open_store(stacked)
    for name in store.manifest.modalities:
        answer, body = got(f"{page}pixels/{name}/2")
        shape = tuple(map(int, answer.headers["X-Shape"].split(",")))
        key = json.loads(got(page + "row/2")[1])["keys"][name]
        pixels = np.frombuffer(body, answer.headers["X-Dtype"]).reshape(shape)
        np.testing.assert_array_equal(pixels, store.read(key))


def test_thumbnails_show_the_bands_stretched_alike(page: str, stacked: Path) -> None:
    store = open_store(stacked)
    told = {one["name"]: one for one in json.loads(got(page + "store")[1])["modalities"]}
    for name, channels in (("s2", ["B04", "B03", "B02"]), ("s2", ["B11"]), ("s1", ["VV", "VH"])):
        key = json.loads(got(page + "row/2")[1])["keys"][name]
        if len(channels) == 2:
            channels = [*channels, "VV/VH"]
        query = "&".join(f"channel={quote(channel)}" for channel in channels)
        image = imagecodecs.png_decode(got(f"{page}thumbnail/{name}/2?{query}")[1])
        assert image.shape[:2] == (120, 120)
        for number, channel in enumerate(channels):
            if channel == "VV/VH":
                vv, vh = store.read(key)
                band = (vv - vh).astype(float)
            else:
                band = store.read(key, bands=[channel])[0].astype(float)
            low, high = told[name]["ranges"][channel]
            expected = np.clip((band - low) / (high - low), 0, 1) * 255
            shown = image[..., number] if image.ndim == 3 else image
            assert abs(shown - expected).max() <= 1


def test_maps_have_the_official_colours(page: str, stacked: Path) -> None:
    store = open_store(stacked)
    told = {one["name"]: one for one in json.loads(got(page + "store")[1])["modalities"]}
    colours = told["map"]["classes"]["colours"]
    assert colours["312"] == "#00A600"  # coniferous forest, as CORINE draws it
    key = json.loads(got(page + "row/2")[1])["keys"]["map"]
    codes = store.read(key)[0]
    image = imagecodecs.png_decode(got(f"{page}thumbnail/map/2")[1])
    for code in np.unique(codes).tolist():
        rgb = bytes.fromhex(colours[str(code)][1:])
        assert {tuple(pixel) for pixel in image[codes == code].tolist()} == {tuple(rgb)}


def test_a_row_is_the_table_s(page: str, stacked: Path, rows: list[Row]) -> None:
    table = open_store(stacked).table().to_pylist()
    for number in (0, len(rows) - 1):
        told = json.loads(got(f"{page}row/{number}")[1])
        assert told["columns"] == json.loads(json.dumps(table[number], default=str))  # of dates
        assert told["name"] == table[number]["patch_id"]


def test_exports_are_what_commands_take(
    page: str, stacked: Path, tmp_path: Path, rows: list[Row], patchpress: Callable[..., Ended]
) -> None:
    values = {"split": ["train", "validation"], "country": ["Portugal", "Finland"]}
    expected = names(page, values=values)
    assert expected
    for kind, name in (("keys", "keys.txt"), ("parquet", "selection.parquet")):
        answer, body = got(f"{page}export?as={kind}&f={asked(values=values)}")
        assert name in answer.headers["Content-Disposition"]
        (tmp_path / name).write_bytes(body)
        out = tmp_path / f"{kind}.store"
        ended = patchpress("copy", stacked, out, "--keys", tmp_path / name)
        assert ended.code == 0, ended.err
        assert sorted(open_store(out).table()["patch_id"].to_pylist()) == sorted(expected)
    assert pq.read_table(io.BytesIO(body))["patch_id"].to_pylist() == expected
    line, python = got(f"{page}export?as=where&f={asked(values=values)}")[1].decode().splitlines()
    scope: dict[str, Any] = {}
    exec(python, scope)  # noqa: S102 - what a user pastes
    samples = Samples(open_store(stacked), where=scope["where"], flagged="include", target=None)
    assert len(samples) == len(expected)
    words = line.replace("--where ", "").split()
    options = [option for word in words for option in ("--where", word)]
    ended = patchpress("copy", stacked, tmp_path / "where.store", *options)
    assert ended.code == 0, ended.err
    assert len(open_store(tmp_path / "where.store").table()) == len(expected)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("select?f=%7B", "cannot be understood"),
        ("select?f=[]", "cannot be understood"),
        ("select?f=" + quote('{"rows":1}'), "rows is not known"),
        ("select?f=" + quote('{"values":{"colour":["red"]}}'), "cannot be filtered by 'colour'"),
        ("select?f=" + quote('{"values":{"split":["dev"]}}'), "no row can have 'dev'"),
        ("select?f=" + quote('{"values":{"split":[1]}}'), "is no value"),
        ("select?f=" + quote('{"order":"colour"}'), "cannot be sorted by 'colour'"),
        ("select?f=" + quote('{"box":[1,2,3]}'), "cannot be understood"),
        ("select?f=" + quote('{"box":[1,2,3,NaN]}'), "four finite numbers"),
        ("select?f=" + "[" * 5000, "cannot be understood"),
        ("rows?start=-1", "start is a whole number"),
        ("row/15", "there is no row 15"),
        ("thumbnail/s3/1", "no modality 's3'"),
        ("thumbnail/s2/99?channel=B02", "there is no row 99"),
        ("thumbnail/s2/1?channel=B99", "no band 'B99'"),
        ("thumbnail/s2/1", "not 0"),
        ("pixels/s3/1", "no modality 's3'"),
        ("export?as=csv", "'csv' is no kind of export"),
        ("export?as=keys&f=" + quote('{"text":"nowhere"}'), "nothing to export"),
        ("export?as=where&f=" + quote('{"text":"S2"}'), "cannot be said by where"),
    ],
)
def test_what_cannot_be_answered_is_one_sentence(page: str, address: str, words: str) -> None:
    code, text = refused(page + address)
    assert code == 400
    assert words in text
    assert "\n" not in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    "address", ["page/app.py", "page/../app.py", "page/%2e%2e/app.py", "page//etc/passwd", "x"]
)
def test_no_other_file_is_served(page: str, address: str) -> None:
    assert refused(page + address)[0] == 404


def test_the_page_runs_nothing_but_its_own_files(page: str) -> None:
    answer, body = got(page)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert b"http" not in body.replace(b"http-equiv", b"")  # nothing from elsewhere
    for name in ("view.js", "wall.js", "patch.js", "places.js", "view.css"):
        text = got(f"{page}page/{name}")[1].decode()
        assert "innerHTML" not in text
        assert "://" not in text


def test_another_name_for_this_machine_is_refused(page: str) -> None:
    """A page of the web that gives its own name our address must not read a store."""
    port = urlsplit(page).port
    assert refused(page + "store", Host="evil.example")[0] == 400
    assert got(page + "store", Host=f"localhost:{port}")[1]


def test_elsewhere_it_asks_for_a_token(stacked: Path) -> None:
    with serving(stacked, "--host", "0.0.0.0") as address:  # noqa: S104
        parts = urlsplit(address)
        bare = f"http://127.0.0.1:{parts.port}/"
        for path in ("", "store", "page/view.js", "?token=wrong", "rows"):
            code, text = refused(bare + path)
            assert code == 403
            assert "open the address" in text
        browser = build_opener(HTTPCookieProcessor())
        with browser.open(f"{bare}?{parts.query}") as answer:
            assert "token" not in answer.geturl()
        with browser.open(bare + "store") as answer:
            assert json.load(answer)["rows"]


def test_a_patch_without_a_partner_says_so(tree: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    (raw / "BigEarthNet-S1").mkdir(parents=True)
    for entry in tree.iterdir():
        if entry.name != "BigEarthNet-S1":
            (raw / entry.name).symlink_to(entry)
    for scene in sorted((tree / "BigEarthNet-S1").iterdir())[1:]:
        (raw / "BigEarthNet-S1" / scene.name).symlink_to(scene)
    convert("bigearthnet-v2", raw, tmp_path / "store", workers=0)
    table = open_store(tmp_path / "store").table()
    lacking = pc.index(table["has_s1"], False).as_py()
    with serving(tmp_path / "store") as page:
        brief = json.loads(got(f"{page}rows?start={lacking}&count=1")[1])[0]
        assert brief["has"] == ["s2", "map"]
        assert json.loads(got(f"{page}row/{lacking}")[1])["keys"]["s1"] is None
        assert "has no record of s1" in refused(f"{page}thumbnail/s1/{lacking}?channel=VV")[1]


def test_clouds_do_not_decide_how_all_are_stretched(page: str, rows: list[Row]) -> None:
    told = json.loads(got(page + "store")[1])["modalities"][0]
    assert any(is_flagged(row) for row in rows)
    assert told["ranges"]["B02"][1] < 3000  # clouds have more than 5,000


def test_a_damaged_table_is_one_sentence(stacked: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(stacked, store)
    table = store / "metadata.parquet"
    os.truncate(table, table.stat().st_size // 2)
    ended = command("view", store, "--port", 0)
    assert ended.code == 1
    assert "metadata.parquet is not the file that was written" in ended.sentence


def test_ctrl_c_ends_it_and_is_no_error(stacked: Path) -> None:
    command = [sys.executable, "-m", "patchpress", "view", str(stacked), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        got(address)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (0, "")


def test_a_port_that_cannot_be_had_is_one_sentence(page: str, stacked: Path) -> None:
    taken = urlsplit(page).port
    assert taken
    with pytest.raises(OptionError, match=f"port {taken} of 127.0.0.1 cannot be had"):
        view(stacked, port=taken)
    with pytest.raises(OptionError, match="port 99999 is none"):
        view(stacked, port=99_999)
    with pytest.raises(OptionError, match="no address of this machine|cannot be had"):
        view(stacked, port=0, host="no.such.host.invalid")


def test_nan_is_black_and_no_warning(tmp_path: Path) -> None:
    store = open_store(radar_with_nan(tmp_path))
    images = Images(store, Catalogue(store))
    radar = "VV", "VH", "VV/VH"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, none, whole = (
            imagecodecs.png_decode(images.thumbnail("a", row, radar, own))
            for row, own in ((0, False), (1, True), (2, False))
        )
    assert (one[5, 7] == 0).all()
    assert one.any(axis=-1).sum() == 143
    assert not none.any()
    assert whole.any(axis=-1).all()


def test_codes_of_no_known_class_have_colours(tmp_path: Path) -> None:
    description = tiny_dataset(tmp_path, {"g": ["p1"]}, kind="classes")
    convert(description, tmp_path / "raw", tmp_path / "store", workers=0)
    with serving(tmp_path / "store") as page:
        others = json.loads(got(page + "store")[1])["modalities"][0]["classes"]["others"]
        image = imagecodecs.png_decode(got(f"{page}thumbnail/a/0")[1])
    codes = open_store(tmp_path / "store").read("p1")[0]
    expected = [
        [list(bytes.fromhex(others[code % len(others)][1:])) for code in line]
        for line in codes.tolist()
    ]
    np.testing.assert_array_equal(image, expected)
