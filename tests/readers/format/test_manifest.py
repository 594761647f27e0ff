"""manifest.json: the same bytes for the same store, and a sentence for whatever is no manifest."""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from patchpress import FormatUnknown, StoreDamaged, StoreUnfinished, open_store
from patchpress.readers.format.manifest import (
    ContentDigest,
    from_bytes,
    read_manifest,
    to_bytes,
    write_manifest,
)
from tests.support.helpers import python

Content = dict[str, Any]


@pytest.fixture
def data(stacked: Path) -> bytes:
    return (stacked / "manifest.json").read_bytes()


def test_a_manifest_comes_back_byte_for_byte(stores: dict[tuple[str, str], Path]) -> None:
    for path in stores.values():
        data = (path / "manifest.json").read_bytes()
        assert to_bytes(from_bytes(data)) == data
        assert from_bytes(data) == read_manifest(path)


def test_it_begins_with_format_and_version(data: bytes) -> None:
    content = json.loads(data)
    assert list(content)[:3] == ["format", "format_version", "dataset"]
    assert (content["format"], content["format_version"]) == ("patchpress", 2)


def test_it_says_how_records_are_stored(stores: dict[tuple[str, str], Path]) -> None:
    for (layout, codec), path in stores.items():
        for modality in json.loads((path / "manifest.json").read_text())["modalities"].values():
            assert modality["layout"] == layout
            assert modality["compression"]["codec"] == codec
            assert (modality["compression"]["level"] > 0) == (codec != "none")
            assert modality["resampling"] == "nearest"


def test_it_has_no_path_host_or_time(data: bytes, stacked: Path, tree: Path) -> None:
    import platform

    text = data.decode()
    for secret in (str(stacked), str(tree), platform.node()):
        assert secret not in text


def s2(content: Content) -> Content:
    found: Content = content["modalities"]["s2"]
    return found


# A change, and what the sentence says of it.
CHANGES: dict[str, tuple[Callable[[Content], object], str]] = {
    "no format": (lambda c: c.pop("format"), "its format is not 'patchpress'"),
    "another format": (lambda c: c.update(format="zarr"), "its format is not 'patchpress'"),
    "no modalities": (lambda c: c.pop("modalities"), "modalities is missing"),
    "a list": (lambda c: c.update(modalities=[]), "modalities must be a table of 1"),
    "no modality": (lambda c: c.update(modalities={}), "modalities must be a table of 1"),
    "no bands": (lambda c: s2(c).pop("bands"), "modalities.s2.bands is missing"),
    "bands of none": (lambda c: s2(c).update(bands=[]), "modalities.s2.bands must be a list of 1"),
    "no shape": (lambda c: s2(c)["bands"][0].pop("shape"), r"s2.bands\[0\].shape is missing"),
    "a shape of text": (
        lambda c: s2(c)["bands"][0].update(shape=["a", "b"]),
        r"s2.bands\[0\].shape\[0\] must be a whole number from 1 to 1,048,576, not 'a'",
    ),
    "a shape of a billion": (
        lambda c: s2(c)["bands"][1].update(shape=[10**9, 10**9]),
        r"s2.bands\[1\].shape\[0\] must be a whole number from 1 to 1,048,576, not 1000000000",
    ),
    "a large shape": (
        lambda c: s2(c)["bands"][1].update(shape=[1 << 20, 1 << 20]),
        "modalities.s2.bands has a shape of more than 1,073,741,824 bytes",
    ),
    "a dtype of nothing": (
        lambda c: s2(c)["bands"][0].update(dtype="u99"),
        r"s2.bands\[0\].dtype must be one of bool, uint8, .* not 'u99'",
    ),
    "two bands of a name": (
        lambda c: s2(c)["bands"][1].update(name="B01"),
        "modalities.s2.bands has a name twice",
    ),
    "two dtypes in one array": (
        lambda c: s2(c)["bands"][1].update(dtype="int16"),
        "modalities.s2.bands must be of one dtype to be stacked",
    ),
    "a colour twice": (
        lambda c: s2(c).update(rgb=["B04", "B03", "B04"]), "modalities.s2.rgb names 'B04' twice"
    ),
    "a class twice": (
        lambda c: c["classes"]["labels"].append("Pastures"), "classes.labels names 'Pastures' twice"
    ),
    "gsd of text": (
        lambda c: s2(c)["bands"][0].update(gsd="10"), r"bands\[0\].gsd must be a number, not '10'"
    ),
    "gsd of nothing": (
        lambda c: s2(c)["bands"][0].update(gsd=0), r"bands\[0\].gsd must be a number above 0"
    ),
    "gsd beyond floats": (
        lambda c: s2(c)["bands"][0].update(gsd=10**400),
        r"bands\[0\].gsd must be a number, not a larger number",
    ),
    "a layout of nothing": (
        lambda c: s2(c).update(layout="round"),
        "modalities.s2.layout must be one of stacked, native, not 'round'",
    ),
    "a kind of nothing": (lambda c: s2(c).update(kind=True), "modalities.s2.kind must be one of"),
    "a key without a column": (
        lambda c: s2(c).update(key="patch_id"),
        "s2.key must be text with the name of one column in braces, not 'patch_id'",
    ),
    "a key of two columns": (lambda c: s2(c).update(key="{a}{b}"), "s2.key must be text with"),
    "a key that is a list": (lambda c: s2(c).update(key=["a"]), "s2.key must be text .* not list"),
    "rgb that is not there": (
        lambda c: s2(c).update(rgb=["B04", "B03", "B99"]),
        "modalities.s2.rgb must name three bands, or none, not 'B99'",
    ),
    "a class that is not there": (
        lambda c: c["modalities"]["map"]["codes"]["labels"].update({"111": 77}),
        "modalities.map.codes.labels has the class 77 of 19",
    ),
    "a name with a zero byte": (
        lambda c: c["dataset"].update(name="a\0b"), "dataset.name must be text without zero"
    ),
    "half of a character": (
        lambda c: c["classes"]["labels"].append("\ud800"),
        r"classes.labels\[19\] must be text without",
    ),
    "a name that cannot be printed": (
        lambda c: c["dataset"].update({"a\x1b[2J": ""}), r"dataset.a\\x1b\[2J is unknown"
    ),
    "an unknown key": (
        lambda c: c["dataset"].update(licens="x"),
        "dataset.licens is unknown; nearest is 'licence'",
    ),
    "a target of no labels": (
        lambda c: c.update(target="nothing"), "target names 'nothing', which `classes` does not"
    ),
    "rows of text": (lambda c: c.update(rows="45"), "rows must be a whole number"),
    "more rows than records": (lambda c: c.update(rows=46), "promises 46 rows of 45 records"),
    "a split of text": (
        lambda c: c["splits"]["train"].update(rows="1"), "splits.train.rows must be a whole number"
    ),
    "a split that is a list": (
        lambda c: c.update(splits={"train": [1]}), "splits.train must be a table"
    ),
    "a split without rows": (
        lambda c: c["splits"]["train"].pop("rows"), "splits.train must count rows"
    ),
    "more flagged than there are": (
        lambda c: c["flagged"]["splits"]["train"].update(rows=1000),
        "flagged.splits.train.rows is more than `splits` counts",
    ),
    "no shards": (lambda c: c.pop("shards"), "shards is missing"),
    "shards of none": (lambda c: c.update(shards=[]), "shards must be a list of 1"),
    "no bytes": (lambda c: c["shards"][0].pop("bytes"), r"shards\[0\].bytes is missing"),
    "bytes of text": (lambda c: c["shards"][0].update(bytes="many"), r"bytes must .* 'many'"),
    "a shard of no bytes": (lambda c: c["shards"][0].update(bytes=0), r"\[0\].bytes must be"),
    "half a byte": (lambda c: c["shards"][0].update(bytes=4096.5), r"bytes must .* not 4096.5"),
    "bytes of truth": (lambda c: c["shards"][0].update(bytes=True), "bytes must .* not True"),
    "fewer than none": (lambda c: c["shards"][0].update(records=-1), "records must .* not -1"),
    "records of text": (lambda c: c["shards"][0].update(records="45"), "records must .* not '45'"),
    "more records than bytes": (
        lambda c: c["shards"][0].update(records=10**9), "promises 1,000,000,000 records in"
    ),
    "no digest": (lambda c: c["shards"][0].pop("digest"), r"shards\[0\].digest is missing"),
    **{
        f"the digest {digest!r}": (
            lambda c, digest=digest: c["shards"][0].update(digest=digest),  # type: ignore[misc]
            r"shards\[0\].digest must be `sha256:` and 64 hexadecimal digits, not",
        )
        for digest in (
            "", "0" * 64, "md5:" + "0" * 32, "sha256:" + "0" * 63, "sha256:" + "0" * 65,
            "sha256:" + "0" * 64 + "\n", "sha256:" + "A" * 64, 7, None,
        )
    },
    **{
        f"the path {path!r}": (
            lambda c, path=path: c["shards"][0].update(path=path),  # type: ignore[misc]
            r"shards\[0\].path must be `data.mdb`, `shards/00000/data.mdb` or "
            "`archives.safetensors`, not",
        )
        for path in (
            "", 3, "../other/data.mdb", "/etc/passwd", "./data.mdb", "shards/../data.mdb",
            "shards/00000/../../data.mdb", "shards/0/data.mdb", "lock.mdb", "DATA.MDB",
        )
    },
    "shards with a gap": (
        lambda c: c["shards"][0].update(path="shards/00001/data.mdb"),
        "shards must be `data.mdb` or `archives.safetensors` alone, or `shards/00000/data.mdb` and "
        "so on without a gap",
    ),
    "a shard twice": (
        lambda c: c["shards"].append(c["shards"][0]), "shards must be `data.mdb` or `archives"
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_manifest_must_not_say_is_told_by_its_field(
    data: bytes, tmp_path: Path, change: str
) -> None:
    content = json.loads(data)
    do, sentence = CHANGES[change]
    do(content)
    # Text that UTF-8 cannot say stands in JSON as an escape.
    content.pop("digest", None)
    text = json.dumps(content, indent=1)
    (tmp_path / "manifest.json").write_bytes(sealed_text(text))
    (tmp_path / "data.mdb").write_bytes(b"")
    with pytest.raises(StoreDamaged, match=sentence) as damaged:
        open_store(tmp_path)
    assert str(damaged.value).isprintable()
    assert str(tmp_path) in str(damaged.value)


def sealed_text(text: str) -> bytes:
    """JSON with the digest of its bytes, as FORMAT.md says."""
    head = f"{text.removesuffix(chr(10) + '}')},\n".encode()
    return head + f' "digest": "sha256:{hashlib.sha256(head).hexdigest()}"\n}}\n'.encode()


def test_a_change_by_hand_is_told(data: bytes) -> None:
    plain = json.loads(data)
    del plain["digest"]
    assert data == sealed_text(json.dumps(plain, indent=1, ensure_ascii=False))
    for before, after in ((b'"B02"', b'"B03"'), (b'"gsd": 10', b'"gsd": 20'), (b"\n", b" \n")):
        changed = data.replace(before, after, 1)
        with pytest.raises(StoreDamaged, match="changed since it was written, .* copy it again"):
            from_bytes(changed)
    content = json.loads(data)
    del content["digest"]
    with pytest.raises(StoreDamaged, match="it has no digest"):
        from_bytes(json.dumps(content, indent=1).encode())


def test_no_flipped_bit_of_a_manifest_goes_unnoticed(data: bytes) -> None:
    draw = random.Random(3)  # noqa: S311
    for _ in range(2000):
        copy = bytearray(data)
        copy[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        with pytest.raises((StoreDamaged, FormatUnknown)) as raised:
            from_bytes(bytes(copy))
        assert str(raised.value).isprintable()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
)


@pytest.mark.slow
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_any_value_in_any_field_is_taken_or_told(data: bytes, draw: st.DataObject) -> None:
    """With the digest that is right for it, as a stranger may write it."""
    content = json.loads(data)
    del content["digest"]
    place: Any = content
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = draw.draw(st.sampled_from(keys))
        if not isinstance(place[key], (dict, list)) or not place[key] or draw.draw(st.booleans()):
            break
        place = place[key]
    place[key] = draw.draw(VALUES)
    try:
        manifest = from_bytes(sealed_text(json.dumps(content, indent=1)))
    except (StoreDamaged, FormatUnknown) as error:
        assert str(error).isprintable()
    else:
        assert manifest.record_limit > 0
        assert repr(manifest)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "long", "link"])
@pytest.mark.parametrize("name", ["manifest.json", "data.mdb", "metadata.parquet",
                                  "statistics.json", "extents.safetensors"])  # fmt: skip
def test_a_file_that_is_none_ends_in_a_sentence(
    stacked: Path, tmp_path: Path, name: str, kind: str
) -> None:
    copy = Path(shutil.copytree(stacked, tmp_path / "store"))
    path = copy / name
    before = path.read_bytes() if path.exists() else b"{}"
    path.unlink(missing_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "long":
        path.touch()
        os.truncate(path, 1 << 32)  # sparse
    else:
        (tmp_path / "elsewhere").write_bytes(before)
        path.symlink_to("../elsewhere")
    code = (
        "import resource, sys, warnings; from patchpress import StoreError, open_store, verify\n"
        "warnings.simplefilter('error')\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))\n"
        "def use():\n"
        "    store = open_store(sys.argv[1])\n"
        "    store.read(store.keys()[0])\n"
        "    store.table()\n"
        "    store.statistics('s2')\n"
        "try:\n"
        "    use()\n"
        "except (StoreError, UserWarning) as error:\n"
        "    print(error)\n"
    )
    ended = python("-c", code, copy)
    assert ended.code == 0, ended.err
    assert len(ended.out.splitlines()) == 1
    assert str(path) in ended.out
    said = {"folder": "folder", "pipe": "pipe", "device": "leads out of the store", "long": "",
            "link": "leads out of the store, to"}[kind]  # fmt: skip
    assert said in ended.out


def test_a_link_inside_of_a_store_is_followed(stacked: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(stacked, tmp_path / "store"))
    (copy / "data.mdb").rename(copy / "data")
    (copy / "data.mdb").symlink_to("data")
    (tmp_path / "link").symlink_to(copy)
    store = open_store(tmp_path / "link")
    assert store.read(store.keys("s2")[0]).any()


@pytest.mark.parametrize("version", [0, 1, 99])
def test_another_version_is_refused_by_its_number(data: bytes, version: int) -> None:
    content = json.loads(data) | {"format_version": version}
    with pytest.raises(FormatUnknown, match=f"version {version}"):
        from_bytes(json.dumps(content).encode())


@given(
    st.binary(max_size=60) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
        lambda value: json.dumps(value).encode()
    )
)  # fmt: skip
def test_any_bytes_are_damaged(data: bytes) -> None:
    with pytest.raises(StoreDamaged):
        from_bytes(data)


def test_deeply_nested_json_is_damaged() -> None:
    with pytest.raises(StoreDamaged):
        from_bytes(b"[" * 200_000)


def test_a_truncated_manifest_is_damaged(data: bytes) -> None:
    for length in range(0, len(data) - 1, 50):
        with pytest.raises(StoreDamaged):
            from_bytes(data[:length])


def test_records_without_a_manifest_are_unfinished(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"")
    with pytest.raises(StoreUnfinished, match="copy of a store.*patchpress index"):
        open_store(tmp_path)
    (tmp_path / "unfinished.json").write_bytes(b"")
    with pytest.raises(
        StoreUnfinished, match="`copy` or `merge`\\) again, and it goes on where it stopped$"
    ):
        open_store(tmp_path)


def test_it_is_written_whole_or_not_at_all(stacked: Path, tmp_path: Path) -> None:
    manifest = read_manifest(stacked)
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    broken = replace(manifest, options={"key": object()})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        write_manifest(tmp_path, broken)
    assert read_manifest(tmp_path) == manifest


def test_the_digest_depends_on_keys_and_checksums_in_order() -> None:
    def digest(*records: tuple[str, int]) -> str:
        content = ContentDigest()
        for key, checksum in records:
            content.add(key, checksum)
        return content.text()

    texts = {
        digest(),
        digest(("a", 1)),
        digest(("a", 2)),
        digest(("b", 1)),
        digest(("a", 1), ("b", 2)),
        digest(("a", 2), ("b", 1)),
        digest(("a", 2**64 - 1)),
    }
    assert len(texts) == 7
    assert all(text.startswith("sha256:") and len(text) == 71 for text in texts)
    assert digest(("a", 1), ("b", 2)) == digest(("a", 1), ("b", 2))
    for wrong in ((("b", 1), ("a", 2)), (("a", 1), ("a", 1))):
        with pytest.raises(ValueError, match="does not follow"):
            digest(*wrong)


def test_the_digest_is_that_of_the_format_page(stacked: Path) -> None:
    import hashlib

    import xxhash

    from tests.support.helpers import stored_values

    whole = hashlib.sha256()
    for key, value in stored_values(stacked).items():
        whole.update(key.encode() + b"\0" + xxhash.xxh3_64_intdigest(value).to_bytes(8, "big"))
    (shard,) = read_manifest(stacked).shards
    assert shard.digest == f"sha256:{whole.hexdigest()}"
    assert shard.bytes == (stacked / "data.mdb").stat().st_size
    assert shard.records == 45
