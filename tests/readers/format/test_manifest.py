"""manifest.json: the same bytes for the same store, and a sentence for whatever is no manifest."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchpress import FormatUnknown, StoreDamaged, StoreUnfinished, open_store
from patchpress.readers.format.manifest import (
    ContentDigest,
    from_bytes,
    read_manifest,
    to_bytes,
    write_manifest,
)

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
    assert (content["format"], content["format_version"]) == ("patchpress", 1)


def test_it_says_how_records_are_stored(stores: dict[tuple[str, str], Path]) -> None:
    for (layout, codec), path in stores.items():
        for modality in json.loads((path / "manifest.json").read_text())["modalities"].values():
            assert modality["layout"] == layout
            assert modality["compression"]["codec"] == codec
            assert (modality["compression"]["level"] > 0) == (codec == "zstd")
            assert modality["resampling"] == "nearest"


def test_it_has_no_path_host_or_time(data: bytes, stacked: Path, tree: Path) -> None:
    import platform

    text = data.decode()
    for secret in (str(stacked), str(tree), platform.node()):
        assert secret not in text


CHANGES: dict[str, Callable[[Content], object]] = {
    "no format": lambda content: content.pop("format"),
    "another format": lambda content: content.update(format="zarr"),
    "no modalities": lambda content: content.pop("modalities"),
    "modalities are a list": lambda content: content.update(modalities=[]),
    "a modality without bands": lambda content: content["modalities"]["s2"].pop("bands"),
    "a modality of no bands": lambda content: content["modalities"]["s2"].update(bands=[]),
    "a band without a shape": lambda content: content["modalities"]["s2"]["bands"][0].pop("shape"),
    "a shape of text": lambda c: c["modalities"]["s2"]["bands"][0].update(shape=["a", "b"]),
    "a dtype of nothing": lambda c: c["modalities"]["s2"]["bands"][0].update(dtype="u99"),
    "a layout of nothing": lambda content: content["modalities"]["s2"].update(layout="round"),
    "an unknown key": lambda content: content["dataset"].update(colour="red"),
    "no shards": lambda content: content.pop("shards"),
    "a shard without bytes": lambda content: content["shards"][0].pop("bytes"),
    "a shard of text": lambda content: content["shards"][0].update(bytes="many"),
    "a shard of no bytes": lambda content: content["shards"][0].update(bytes=0),
    "a shard of fewer bytes": lambda content: content["shards"][0].update(bytes=-4096),
    "a shard of half a byte": lambda content: content["shards"][0].update(bytes=4096.5),
    "a shard of truth": lambda content: content["shards"][0].update(bytes=True),
    "fewer records than none": lambda content: content["shards"][0].update(records=-1),
    "records of text": lambda content: content["shards"][0].update(records="45"),
    "a shard without a digest": lambda content: content["shards"][0].pop("digest"),
    "an empty digest": lambda content: content["shards"][0].update(digest=""),
    "a digest of no kind": lambda content: content["shards"][0].update(digest="0" * 64),
    "a digest of another kind": lambda c: c["shards"][0].update(digest="md5:" + "0" * 32),
    "a short digest": lambda content: content["shards"][0].update(digest="sha256:" + "0" * 63),
    "a long digest": lambda content: content["shards"][0].update(digest="sha256:" + "0" * 65),
    "a digest with a line": lambda c: c["shards"][0].update(digest="sha256:" + "0" * 64 + "\n"),
    "a digest in capitals": lambda c: c["shards"][0].update(digest="sha256:" + "A" * 64),
    "a digest that is a number": lambda content: content["shards"][0].update(digest=7),
    "a shard without a path": lambda content: content["shards"][0].update(path=""),
    "a shard with a number for a path": lambda content: content["shards"][0].update(path=3),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_manifest_that_lacks_something_is_damaged(
    data: bytes, tmp_path: Path, change: str
) -> None:
    content = json.loads(data)
    CHANGES[change](content)
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    (tmp_path / "data.mdb").write_bytes(b"")
    with pytest.raises(StoreDamaged) as damaged:
        open_store(tmp_path)
    assert "\n" not in str(damaged.value)
    assert str(tmp_path) in str(damaged.value)


@pytest.mark.parametrize("version", [0, 2, 99])
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
    with pytest.raises(StoreUnfinished, match="patchpress convert.*patchpress index"):
        open_store(tmp_path)
    (tmp_path / "unfinished.json").write_bytes(b"")
    with pytest.raises(
        StoreUnfinished, match="patchpress convert` again, and it goes on where it stopped$"
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
