"""`patchpress index ARCHIVE`: archives become a store as they lie, equal to a converted one."""

import os
import pickle
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress import PatchLoader, Store, convert, open_store, verify
from patchpress.converter.commands.index import index
from patchpress.converter.commands.stats import stats
from patchpress.readers.errors import (
    GridsDiffer,
    OptionError,
    PatchpressError,
    StoreDamaged,
    ViewImpossible,
)
from patchpress.readers.format.manifest import ARCHIVES
from tests.support.helpers import Ended, folder_bytes
from tests.support.older_sets import make_sen12ms, make_v1
from tests.support.packing import ended, entry, members, packed, shuffled, split, write
from tests.support.preads import Requests
from tests.support.synthetic import Row
from tests.support.zipping import zipped

Command = Callable[..., Ended]
BEN = "bigearthnet-v2"


def archives_in(folder: Path) -> list[Path]:
    """The archives of a folder."""
    return sorted(path for path in folder.iterdir() if path.suffix in (".tar", ".zip"))


def archived(tree: Path, out: Path, codec: str) -> Path:
    """A tree as archives of one kind."""
    return zipped(tree, out) if codec == "zip" else packed(tree, out, "tar")


@pytest.fixture(scope="module")
def tars(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made tree as tar files, with its tables. Never write into it."""
    return packed(tree, tmp_path_factory.mktemp("packed") / "tars", "tar")


@pytest.fixture(scope="module")
def in_tars(tars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of these tar files. Never write into it."""
    store = tmp_path_factory.mktemp("indexed") / "store"
    index(store, BEN, archives=archives_in(tars))
    return store


@pytest.fixture
def own_tars(tars: Path, tmp_path: Path) -> Path:
    """Such tar files, to be changed."""
    return Path(shutil.copytree(tars, tmp_path / "archives"))


def records(store: Store) -> Iterator[tuple[str, bytes]]:
    """Every record, as bytes of the native layout."""
    for key in store:
        yield key, bytes(store._reader.whole(key)[0])


def require_equal(indexed: Path, converted: Path) -> None:
    """Make sure that two stores have the same table, records and batches, however they are read."""
    with open_store(indexed) as one, open_store(converted) as other:
        assert one.table().equals(other.table())
        assert one.manifest.splits == other.manifest.splits
        assert one.manifest.shards[0].digest == other.manifest.shards[0].digest
        assert list(records(one)) == list(records(other))
    for mode in ("auto", "map", "direct"):
        with open_store(indexed, mode=mode) as one, open_store(converted) as other:
            for name, modality in other.manifest.modalities.items():
                keys = other.keys(name)
                some = list(modality.band_names)[::-2]
                for bands in (None, some, some[:1]):
                    wanted = other.read_batch(keys, bands)
                    np.testing.assert_array_equal(one.read_batch(keys, bands), wanted)
                    np.testing.assert_array_equal(one.read(keys[0], bands), wanted[0])


@pytest.mark.parametrize("codec", ["tar", "zip"])
@pytest.mark.slow
def test_every_pixel_and_label_is_that_of_a_converted_store(
    tree: Path, native: Path, tmp_path: Path, codec: str
) -> None:
    made = archived(tree, tmp_path / "in", codec)
    before = folder_bytes(made)
    index(tmp_path / "store", BEN, archives=archives_in(made), workers=2)
    require_equal(tmp_path / "store", native)
    assert folder_bytes(made) == before
    assert sum(map(len, folder_bytes(tmp_path / "store").values())) < 100_000


@pytest.mark.parametrize("codec", ["tar", "zip"])
@pytest.mark.parametrize("name", ["bigearthnet-v1", "sen12ms"])
@pytest.mark.slow
def test_other_data_sets(
    tree: Path, rows: list[Row], tmp_path: Path, name: str, codec: str
) -> None:
    source = tmp_path / "source"
    if name == "sen12ms":
        make_sen12ms(source)
    else:
        make_v1(source, tree, rows)
    convert(name, source, tmp_path / "native", layout="native")
    made = (
        zipped(source, tmp_path / "in")
        if codec == "zip"
        else packed(source, tmp_path / "in", "tar")
    )
    index(tmp_path / "store", name, archives=archives_in(made))
    require_equal(tmp_path / "store", tmp_path / "native")


def test_a_store_of_archives_is_a_store(in_tars: Path, native: Path) -> None:
    require_equal(in_tars, native)
    with open_store(in_tars, checksums=True) as one, open_store(native) as other:
        keys = other.keys("s2", "train")
        again = pickle.loads(pickle.dumps(one))  # noqa: S301 -- made here
        np.testing.assert_array_equal(again.read_batch(keys), other.read_batch(keys))
        np.testing.assert_array_equal(
            one.records(keys).read(range(len(keys))), other.read_batch(keys)
        )
        assert {k: v.shape for k, v in one.read_bands(keys[0]).items()} == {
            k: v.shape for k, v in other.read_bands(keys[0]).items()
        }
        with pytest.raises(ViewImpossible, match="lies in an archive, band by band"):
            one.view(keys[0])
        with pytest.raises(GridsDiffer):
            one.read_batch([keys[0], one.keys("s1")[0]])
        one.announce(keys)
        loaders = [
            PatchLoader(store, "train", batch_size=4, shuffle=True, seed=3, output="numpy")
            for store in (one, other)
        ]
        for ours, theirs in zip(*loaders, strict=True):
            np.testing.assert_array_equal(ours[0], theirs[0])
            np.testing.assert_array_equal(ours[1], theirs[1])


def test_a_patch_is_one_request_announced_in_the_order_of_reading(
    in_tars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk gives what it was asked for first: what is read first must not come last."""
    with open_store(in_tars, mode="direct") as store:
        for modality in ("s2", "s1"):
            keys = store.keys(modality)[::-1]
            expected = store.read_batch(keys)
            with monkeypatch.context() as context:
                seen = Requests(context)
                np.testing.assert_array_equal(store.read_batch(keys), expected)
            assert seen.announced == seen.made
            assert len(seen.made) == len(keys)
            assert [offset for _, offset in seen.made] == sorted(at for _, at in seen.made)


@pytest.mark.slow
def test_verify_statistics_and_a_copy(
    in_tars: Path, tars: Path, native: Path, tmp_path: Path, patchpress: Command
) -> None:
    store = Path(shutil.copytree(in_tars, tmp_path / "store"))
    assert verify(store).problems == verify(store, tars, workers=0).problems == []
    other = Path(shutil.copytree(native, tmp_path / "native"))
    assert [s.bands for s in stats(store)] == [s.bands for s in stats(other)]
    seen = patchpress("inspect", store)
    assert seen.code == patchpress("verify", store).code == 0
    assert f"of its pixels stay in {tars}/BigEarthNet-S1.tar (" in seen.out.replace("\n", " ")
    assert patchpress("copy", store, tmp_path / "copy").code == 0
    copied, converted = folder_bytes(tmp_path / "copy"), folder_bytes(native)
    for name in ("data.mdb", "metadata.parquet", "extents.safetensors"):
        assert copied[name] == converted[name]
    assert verify(tmp_path / "copy").problems == []


@pytest.mark.slow
def test_an_archive_that_moved_is_noted_in_a_moment(
    own_tars: Path, tmp_path: Path, patchpress: Command
) -> None:
    store = own_tars.parent / "store"
    s2 = own_tars / "BigEarthNet-S2.tar"
    index(store, BEN, archives=[s2])
    with open_store(store) as opened:
        before = opened.read_batch(opened.keys("s2"))
    (tmp_path / "elsewhere").mkdir()
    moved = s2.rename(tmp_path / "elsewhere" / "any.tar")
    ended = patchpress("verify", store)
    assert ended.code == 1
    assert f"{s2} is absent" in ended.err
    assert f"patchpress index ARCHIVE --dataset {BEN} {store}" in ended.err
    ended = patchpress("index", moved, "--dataset", BEN, store)
    assert ended.code == 0
    assert "the same archives as when they were indexed" in ended.out
    with open_store(store) as opened:
        np.testing.assert_array_equal(opened.read_batch(opened.keys("s2")), before)
    assert verify(store).problems == []


@pytest.mark.slow
def test_archives_beside_the_store_move_with_it(own_tars: Path, tmp_path: Path) -> None:
    index(own_tars / "store", BEN, archives=[own_tars / "BigEarthNet-S1.tar"])
    moved = own_tars.rename(tmp_path / "moved")
    assert verify(moved / "store").problems == []


def test_an_archive_that_changed_is_refused(own_tars: Path, tmp_path: Path) -> None:
    store, s1 = tmp_path / "store", own_tars / "BigEarthNet-S1.tar"
    index(store, BEN, archives=[s1])
    whole = s1.read_bytes()
    s1.write_bytes(whole[:-512])
    with pytest.raises(StoreDamaged, match=r"has .* bytes, and had .* when it was indexed"):
        open_store(store)
    s1.write_bytes(bytes([1]) + whole[1:])
    with pytest.raises(StoreDamaged, match="is not the archive that was indexed"):
        open_store(store)
    s1.write_bytes(whole)
    with open_store(store) as opened:
        key = opened.keys("s1")[0]
        opened.read(key)
        os.truncate(s1, len(whole) // 2)
        with pytest.raises(StoreDamaged, match="it was cut since it was opened"):
            opened.read(key)
    s1.write_bytes(whole)
    with open_store(store) as opened:
        s1.write_bytes(bytes([1]) + whole[1:])
        with pytest.raises(StoreDamaged, match="was overwritten since it was opened"):
            opened.read_batch([key])


@pytest.mark.slow
def test_a_pixel_that_changed_is_told_by_its_checksum(own_tars: Path, tmp_path: Path) -> None:
    store, s1 = tmp_path / "store", own_tars / "BigEarthNet-S1.tar"
    index(store, BEN, archives=[s1])
    with open_store(store) as opened:
        records = opened._reader._records  # type: ignore[attr-defined]
        position = len(records.index) // 2
        _, begin, nbytes = records.place(position)
        key = records.index.names.one(position).decode()
    with s1.open("r+b") as changed:
        changed.seek(begin + nbytes // 4)
        changed.write(b"\xff\xff")
    found = verify(store).problems
    assert any(key in problem for problem in found), found
    with (
        open_store(store, checksums=True) as opened,
        pytest.raises(StoreDamaged, match="has the checksum"),
    ):
        opened.read(key)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["scattered", "shuffled"])
def test_files_that_lie_apart_are_read_all_the_same(
    tree: Path, native: Path, tmp_path: Path, order: str
) -> None:
    folder = "BigEarthNet-S1"
    names = members(tree, folder)
    # All of one polarisation, then all of the other: within the window of an archive.
    apart = sorted(names, key=lambda name: name[-6:])
    names = shuffled(names) if order == "shuffled" else apart
    tar = tmp_path / f"{folder}.tar"
    write(tar, [entry(name, (tree / name).read_bytes()) for name in names])
    index(tmp_path / "store", BEN, archives=[tar], paths={"metadata": tree / "metadata.parquet"})
    for mode in ("map", "direct"):
        with open_store(tmp_path / "store", mode=mode) as one, open_store(native) as other:
            keys = one.keys("s1")
            np.testing.assert_array_equal(one.read_batch(keys), other.read_batch(keys))
            assert len(keys) == len(other.keys("s1"))


@pytest.mark.slow
def test_a_file_that_is_packed_otherwise_is_read_right_or_refused(
    tree: Path, tmp_path: Path
) -> None:
    """A band in one strip, one big-endian, one with LZW, one longer: never wrong pixels."""
    rasterio = pytest.importorskip("rasterio")
    folder = "BigEarthNet-S1"
    own = Path(shutil.copytree(tree / folder, tmp_path / "tree" / folder))
    files = sorted(own.rglob("*_VV.tif"))
    ways: list[dict[str, Any]] = [
        {"ENDIANNESS": "BIG"},
        {"compress": "lzw"},
        {"compress": "deflate", "predictor": 3},
        {"blockysize": 7},
        {"tiled": True, "blockxsize": 16, "blockysize": 16},
    ]
    for file, options in zip(
        files,
        ways,
        strict=False,
    ):
        with rasterio.open(file) as opened:
            pixels, profile = opened.read(), {**opened.profile, **options}
        for name in {"compress", "predictor", "tiled", "blockxsize", "blockysize"} - set(options):
            profile.pop(name, None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with rasterio.open(file, "w", **profile) as made:
                made.write(pixels)
    packed(tmp_path / "tree", tmp_path / "in", "tar")
    report = index(
        tmp_path / "store", BEN, archives=[tmp_path / "in" / f"{folder}.tar"], on_error="skip"
    )
    told = "\n".join(report.skipped)  # type: ignore[union-attr]
    assert "has its pixels big-endian" in told
    assert "is compressed by LZW" in told
    assert "is deflated in tiles, together with other bands or by an odd predictor" in told
    assert "has its pixels in tiles" in told
    assert len(report.skipped) == 4  # type: ignore[union-attr]
    assert "`patchpress convert` makes a store of it" in told
    convert(BEN, tmp_path / "tree", tmp_path / "native", layout="native", modalities="s1")
    with open_store(tmp_path / "store") as one, open_store(tmp_path / "native") as other:
        keys = one.keys()
        assert len(keys) == len(other.keys()) - 4
        np.testing.assert_array_equal(one.read_batch(keys), other.read_batch(keys))


REFUSED = [
    ("tar.zst", "is zstd data, so nothing in it can be read in its place"),
    ("tar.gz", "is gzip data, so nothing in it can be read in its place"),
    ("part", "is one of 2 parts of an archive"),
    ("deflate", "compressed, and nothing can be read in its place then"),
    ("other", "some.tar has no patch"),
    ("text", "is a text, no tar or zip archive"),
    ("cut", "BigEarthNet-S1.tar"),
    ("twice", "twice"),
    ("damaged", "_VV.tif has strips that lie one over another"),
]


@pytest.mark.parametrize(("kind", "said"), REFUSED, ids=[kind for kind, _ in REFUSED])
def test_what_cannot_be_read_in_place_is_told(
    tree: Path, tmp_path: Path, patchpress: Command, kind: str, said: str
) -> None:
    folder = "BigEarthNet-S1"
    names = members(tree, folder)
    parts = [entry(name, (tree / name).read_bytes()) for name in names]
    path = tmp_path / f"{folder}.tar"
    if kind.startswith("tar"):
        path = write(tmp_path / f"{folder}.{kind}", parts)
    elif kind == "part":
        path = split(write(path, parts), 2)[0]
    elif kind == "deflate":
        path = zipped(tree, tmp_path / "z", "deflate", folders=[folder]) / f"{folder}.zip"
    elif kind == "other":
        path = write(tmp_path / "some.tar", [entry("a/b.tif", b"II")])
    elif kind == "text":
        path.write_text("a page of a server")
    elif kind == "cut":
        path.write_bytes(ended(parts)[: len(parts[0]) * 3 + 700])
    elif kind == "twice":
        write(path, [*parts, *parts[:2]])
    else:
        data = (tree / names[1]).read_bytes()
        write(path, [parts[0], entry(names[1], data[:200] + b"\xff" * 60 + data[260:]), *parts[2:]])
    before = path.read_bytes()
    ended_ = patchpress("index", path, tmp_path / "store", "--dataset", BEN)
    assert ended_.code in (1, 2), ended_
    assert said in ended_.err, ended_.err
    assert len(ended_.err.strip().splitlines()) == 1, ended_.err
    assert not (tmp_path / "store").exists()
    assert path.read_bytes() == before


@pytest.mark.slow
def test_words_of_the_command(own_tars: Path, tmp_path: Path, patchpress: Command) -> None:
    s1 = own_tars / "BigEarthNet-S1.tar"
    for words, said in (
        ((s1,), "--dataset says what the archives have"),
        ((s1, own_tars / "BigEarthNet-S2.tar", "--dataset", BEN), "is a file: name the folder"),
        ((s1, tmp_path / "lost.tar", "--dataset", BEN), "there is no archive"),
        ((own_tars, "--dataset", BEN), "holds archives: give the folder of the store"),
        ((s1, tmp_path / "s", "--dataset", BEN, "--block", "10km"), "is of a finished store"),
        ((s1, tmp_path / "s", "--dataset", BEN, "--path", f"s1={s1}"), "names a modality"),
        ((s1, tmp_path / "s", "--dataset", BEN, "--modality", "s2"), "is in none of the archives"),
        ((tmp_path / "no.tar", tmp_path / "s", "--dataset", BEN), "there is no archive"),
        ((s1, tmp_path / "s", "--dataset", "ssl4eo-s12-seasons"), "has no patch"),
    ):
        ended_ = patchpress("index", *words)
        assert ended_.code in (1, 2), words
        assert said in ended_.err, ended_.err
        assert not (tmp_path / "s").exists()
    ended_ = patchpress("index", s1, "--dataset", BEN)
    assert ended_.code == 0, ended_.err
    assert f"pixels             stay in {s1}" in ended_.out
    store = own_tars / "BigEarthNet-S1.store"
    for words, said in (
        ((store,), "reads its pixels in archives, and has no extents"),
        ((store, "--nan", "keep"), "nan is for archives"),
        ((own_tars / "BigEarthNet-S2.tar", store, "--dataset", BEN), "is a finished store"),
    ):
        ended_ = patchpress("index", *words)
        assert ended_.code in (1, 2), words
        assert said in ended_.err, ended_.err
    ended_ = patchpress(
        "index", own_tars / "BigEarthNet-S2.tar", store, "--dataset", BEN, "--overwrite"
    )
    assert ended_.code == 0, ended_.err
    with open_store(store) as opened:
        assert list(opened.manifest.modalities) == ["s2"]
    ended_ = patchpress("index", store, "--split", "geographic", "--block", "10km")
    assert ended_.code == 0, ended_.err
    assert verify(store).problems == []
    ended_ = patchpress("stage", store, tmp_path / "stage")
    assert ended_.code == 2
    assert "which are not staged" in ended_.err


def test_an_index_that_was_changed_is_refused(in_tars: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(in_tars, tmp_path / "store"))
    whole = (store / ARCHIVES).read_bytes()
    for at in range(0, len(whole), 211):
        (store / ARCHIVES).write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        with pytest.raises(StoreDamaged, match="is not as it was written"):
            open_store(store)
    (store / ARCHIVES).unlink()
    with pytest.raises(StoreDamaged, match="is absent though the manifest lists it"):
        open_store(store)
    with pytest.raises(OptionError):
        open_store(in_tars, mode="slow")
    with pytest.raises(PatchpressError):
        index(tmp_path / "new", BEN, archives=[store / "manifest.json"])
